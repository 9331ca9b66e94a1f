"""A collection of ir-datasets with other queries or judgements; BEIR's licensed sets; what is built already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ir_datasets
import pytest
import toys
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericDoc, TrecQrel

from irkit.core.errors import DataError
from irkit.data.beir import HOME
from irkit.data.open import is_built, open_collection, resolve
from irkit.data.spec import LocalSpec
from irkit.store import Store


class Reasoned(NamedTuple):
    query_id: str
    text: str
    gpt4_reason: str


class Docs(BaseDocs):  # type: ignore[misc]
    def docs_iter(self) -> Iterator[Any]:
        return iter([GenericDoc(name, f"text of {name}") for name in "abc"])


class Queries(BaseQueries):  # type: ignore[misc]
    def queries_iter(self) -> Iterator[Any]:
        return iter([Reasoned("q1", "short", "long and reasoned"), Reasoned("q2", "other", "")])

    def queries_cls(self) -> type[Reasoned]:
        return Reasoned


class Qrels(BaseQrels):  # type: ignore[misc]
    def qrels_iter(self) -> Iterator[Any]:
        return iter([TrecQrel("q1", "a", 1, "0"), TrecQrel("q1", "c", -100, "0")])


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ir_datasets.registry, "_registered", dict(ir_datasets.registry._registered))
    ir_datasets.registry.register("bright/toy", Dataset(Docs(), Queries(), Qrels()))


def test_other_queries_over_the_same_documents(store: Store) -> None:
    plain = open_collection("bright/toy", store, base=Path())
    other = open_collection("bright/toy?queries=gpt4_reason", store, base=Path())
    assert (plain.queries.text, other.queries.text) == (("short", "other"), ("long and reasoned", ""))
    assert other.docs_fingerprint == plain.docs_fingerprint and other.fingerprint != plain.fingerprint
    assert other.name == "bright/toy?queries=gpt4_reason"
    assert [codes.tolist() for codes in other.queries.exclude] == [[2], []]
    assert sorted(artifact.kind for artifact in store.artifacts()) == ["docs", "topics", "topics"]


def test_other_judgements_keep_what_is_excluded(store: Store, tmp_path: Path) -> None:
    (tmp_path / "fixed.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb\t1\nq2\ta\t1\n")
    other = open_collection("bright/toy?qrels=fixed.tsv&queries=gpt4_reason", store, base=tmp_path)
    assert other.qrels.doc.tolist() == [1, 0] and other.queries.text[0] == "long and reasoned"
    assert [codes.tolist() for codes in other.queries.exclude] == [[2], []]
    before = other.fingerprint
    (tmp_path / "fixed.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb\t1\n")
    assert (
        open_collection("bright/toy?qrels=fixed.tsv&queries=gpt4_reason", store, base=tmp_path).fingerprint
        != before
    )


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("bright/toy?query=x", "unknown option 'query'", "queries"),
        ("bright/toy?", "nothing stands behind", "bright/toy?queries"),
        ("bright/toy?queries=", "'queries' is empty", "field"),
        ("bright/toy?qrels=no.tsv", "file of judgements does not exist", "workspace"),
    ],
)
def test_what_can_be_refused_without_reading_is(
    spec: str, message: str, hint: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        resolve(spec, base=tmp_path, store=store)
    (problem,) = caught.value.problems
    assert message in problem.message and hint in (problem.hint or "")


def test_a_field_that_the_queries_lack(store: Store) -> None:
    with pytest.raises(DataError, match="no field 'gpt4_reson'") as caught:
        open_collection("bright/toy?queries=gpt4_reson", store, base=Path())
    assert caught.value.problems[0].hint == "did you mean 'gpt4_reason'?"


def test_the_fields_that_the_suite_names_are_ir_datasets() -> None:
    assert "gpt4_reason" in ir_datasets.load("bright/pony").queries_cls()._fields


def test_a_licensed_set_may_be_named_and_is_opened_from_its_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HOME, raising=False)
    resolve("beir/bioasq", base=tmp_path, store=store)  # naming it is no mistake
    with pytest.raises(
        DataError, match=f"licensed and cannot be downloaded, and {HOME} is not set"
    ) as caught:
        open_collection("beir/bioasq", store, base=tmp_path)
    assert "--only" in (caught.value.problems[0].hint or "")
    monkeypatch.setenv(HOME, str(tmp_path / "sets"))
    with pytest.raises(DataError, match="there is no folder"):
        open_collection("beir/bioasq", store, base=tmp_path)
    toys.write_beir(tmp_path / "sets" / "bioasq")
    found = open_collection("beir/bioasq", store, base=tmp_path)
    assert (found.name, len(found.queries)) == ("beir/bioasq", 5)


def test_built_means_that_nothing_is_read(store: Store, tmp_path: Path) -> None:
    toys.write_beir(tmp_path / "data")
    spec = LocalSpec(path="data")
    assert not is_built(spec, store, base=tmp_path)
    open_collection(spec, store, base=tmp_path)
    assert is_built(spec, store, base=tmp_path)
    with (tmp_path / "data" / "queries.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "q99", "text": "new"}) + "\n")
    assert not is_built(spec, store, base=tmp_path)
    assert not is_built("bright/toy", store, base=tmp_path)
