"""Collections of ir-datasets: a small one registered here, and irkit's own as ir-datasets sees them. No network."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ir_datasets
import pytest
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery, TrecQrel

from irkit.core.errors import DataError, DependencyError
from irkit.data.collection import Collection
from irkit.data.irds import register_with_ir_datasets
from irkit.data.open import open_collection
from irkit.data.policies import policy_of
from irkit.store import Store


class Doc(NamedTuple):
    doc_id: str
    text: str
    title: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class Docs(BaseDocs):  # type: ignore[misc]
    def __init__(self, *docs: Any, fault: Exception | None = None) -> None:
        self.docs, self.fault = docs, fault

    def docs_iter(self) -> Iterator[Any]:
        if self.fault:
            raise self.fault
        return iter(self.docs)

    def docs_count(self) -> int:
        return len(self.docs)


class Queries(BaseQueries):  # type: ignore[misc]
    def __init__(self, *queries: Any) -> None:
        self.queries = queries

    def queries_iter(self) -> Iterator[Any]:
        return iter(self.queries)


class Qrels(BaseQrels):  # type: ignore[misc]
    def __init__(self, *qrels: tuple[str, str, int]) -> None:
        self.qrels = qrels

    def qrels_iter(self) -> Iterator[Any]:
        return (TrecQrel(*qrel, "0") for qrel in self.qrels)


DOCS = Docs(Doc("b", "two ", "Title"), Doc("a", " one", ""), Doc("c", "", "Only"))
QUERIES = Queries(GenericQuery("q1", "first"), GenericQuery("q2", "second"))


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register data sets for the length of one test."""
    registered = dict(ir_datasets.registry._registered)
    monkeypatch.setattr(ir_datasets.registry, "_registered", registered)
    return lambda name, *parts: ir_datasets.registry.register(name, Dataset(*parts))


def load(name: str, store: Store) -> Collection:
    return open_collection(name, store, base=Path())


def test_titles_and_texts_are_taken_by_name(add: Any, store: Store) -> None:
    add("toy", DOCS, QUERIES, Qrels(("q1", "a", 1)))
    docs = load("toy", store).docs
    assert [docs.document(code) for code in range(3)] == [
        ("a", "", " one"),
        ("b", "Title", "two "),
        ("c", "Only", ""),
    ]


def test_default_text_counts_where_it_is_not_title_and_text(add: Any, store: Store) -> None:
    class Composed(NamedTuple):
        doc_id: str
        title: str
        body: str
        url: str

        def default_text(self) -> str:
            return f"{self.title}\n{self.body}\n{self.url}"

    class Plain(NamedTuple):
        doc_id: str
        text: str

    add("toy", Docs(Composed("a", "T", "b", "u"), Plain("b", " x")), QUERIES, Qrels(("q1", "a", 1)))
    docs = load("toy", store).docs
    assert docs.document(0) == ("a", "T", "b\nu") and docs.document(1) == ("b", "", " x")


def test_relevance_minus_100_is_an_exclusion_and_no_judgement(add: Any, store: Store) -> None:
    add("toy", DOCS, QUERIES, Qrels(("q1", "a", 1), ("q1", "c", -100), ("q1", "b", -100), ("q2", "b", -1)))
    collection = load("toy", store)
    assert [codes.tolist() for codes in collection.queries.exclude] == [[1, 2], []]
    assert collection.qrels.doc.tolist() == [0, 1] and collection.qrels.gain.tolist() == [1, -1]


def test_splits_share_the_documents_of_their_parent(add: Any, store: Store) -> None:
    add("toy", DOCS)
    add("toy/dev", DOCS, QUERIES, Qrels(("q1", "a", 1)))
    add("toy/test", DOCS, QUERIES, Qrels(("q2", "b", 1)))
    assert load("toy/dev", store).docs_fingerprint == load("toy/test", store).docs_fingerprint
    assert sorted(a.kind for a in store.artifacts()) == ["docs", "topics", "topics"]
    ir_datasets.registry._registered.clear()
    assert load("toy/dev", store).queries.qid == ("q1", "q2"), "what was built needs ir-datasets no more"


def test_repeated_judgements_cannot_be_corrected_by_the_user_and_are_counted(add: Any, store: Store) -> None:
    add("toy", DOCS, QUERIES, Qrels(("q1", "a", 1), ("q1", "a", 3)))
    collection = load("toy", store)
    assert collection.qrels.gain.tolist() == [3]
    assert collection.warnings["repeated judgement (the last one counts)"] == (1, "toy qrels:2 'q1' 'a'")


@pytest.mark.parametrize("name", ["beir/arguana/mine", "beir/fiqa/mine", "nano-beir/quora/mine"])
def test_self_matches_are_excluded(add: Any, store: Store, name: str) -> None:
    add(name, DOCS, Queries(GenericQuery("a", "x"), GenericQuery("q", "y")), Qrels(("a", "b", 1)))
    collection = load(name, store)
    assert collection.policy.drop_self and [codes.tolist() for codes in collection.queries.exclude] == [
        [0],
        [],
    ]


@pytest.mark.parametrize(
    ("name", "drop_self", "macro"),
    [
        ("beir/arguana", True, None),
        ("beir/quora/test", True, None),
        ("nano-beir/quora", True, None),
        ("nano-beir/quora-like", False, None),
        ("nano-beir/fiqa", False, None),
        ("beir/fiqa/test", True, None),
        ("beir/scifact/test", True, None),
        ("beir-like/scifact", False, None),
        ("beir/cqadupstack/android", True, "beir/cqadupstack"),
    ],
)
def test_policies(name: str, drop_self: bool, macro: str | None) -> None:
    assert policy_of(name).drop_self is drop_self and policy_of(name).macro == macro


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("msmarco-passage/trec-dl-2019", 2),
        ("msmarco-passage/trec-dl-2019/judged", 2),
        ("msmarco-passage/trec-dl-2020/judged", 2),
        ("msmarco-passage-v2/trec-dl-2021/judged", 2),
        ("msmarco-passage/dev/small", 1),
        ("msmarco-document/trec-dl-2019", 1),
        ("beir/msmarco/test", 1),
    ],
)
def test_the_relevance_level_of_the_deep_learning_tracks(name: str, level: int) -> None:
    assert policy_of(name).relevance_level == level


def test_what_is_missing_is_said(add: Any, store: Store) -> None:
    add("toy", DOCS)
    add("toy/test", DOCS, QUERIES, Qrels(("q1", "a", 1)))
    with pytest.raises(
        DataError, match=r"toy: the collection has no queries and no qrels\n.*choose one of: toy/test"
    ):
        load("toy", store)
    with pytest.raises(DataError, match=r"no such collection\n.*did you mean 'beir/scifact/test'"):
        load("beir/scifct/test", store)
    with pytest.raises(DataError, match=r"no such collection\n.*ir-datasets.com"):
        load("qqqqqqqqqqqqq", store)


def test_duplicate_ids_are_errors(add: Any, store: Store) -> None:
    add("toy", Docs(DOCS.docs[0], DOCS.docs[0]), QUERIES, Qrels(("q1", "b", 1)))
    with pytest.raises(DataError, match=r"toy documents:2: the document id 'b' appears twice"):
        load("toy", store)
    add("toy2", DOCS, Queries(*QUERIES.queries * 2), Qrels(("q1", "b", 1)))
    with pytest.raises(DataError, match=r"toy2 queries:3: the query id 'q1' appears twice"):
        load("toy2", store)


@pytest.mark.parametrize(
    "fault", [ConnectionError("no route"), RuntimeError("All download sources failed"), EOFError("cut")]
)
def test_a_failed_download_says_what_to_do(add: Any, store: Store, fault: Exception) -> None:
    add("beir/toy/test", Docs(fault=fault), QUERIES, Qrels(("q1", "a", 1)))
    with pytest.raises(DataError, match=r"beir/toy/source\.zip.*path: my/beir-folder"):
        load("beir/toy/test", store)
    add("toy", Docs(fault=fault), QUERIES, Qrels(("q1", "a", 1)))
    with pytest.raises(DataError, match="IR_DATASETS_HOME"):
        load("toy", store)


def test_a_missing_package_says_how_to_get_it(add: Any, store: Store) -> None:
    add(
        "toy",
        Docs(fault=ImportError("No module named 'pyarrow'", name="pyarrow")),
        QUERIES,
        Qrels(("q1", "a", 1)),
    )
    with pytest.raises(DependencyError, match="pip install pyarrow"):
        load("toy", store)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_broken_archive_is_not_a_traceback(add: Any, store: Store) -> None:
    add(
        "beir/toy/test",
        Docs(fault=zipfile.BadZipFile("File is not a zip file")),
        QUERIES,
        Qrels(("q1", "a", 1)),
    )
    with pytest.raises(DataError, match="BadZipFile"):
        load("beir/toy/test", store)


def test_ir_datasets_sees_irkits_collections(add: Any, home: Path, folder: Path) -> None:
    register_with_ir_datasets()
    register_with_ir_datasets()
    synthetic = ir_datasets.load("irkit/limit-synthetic?n=46&pattern=dense&k=2&seed=0")
    assert synthetic.docs_count() == len(list(synthetic.docs_iter())) == 46
    assert len(list(synthetic.queries_iter())) == 1000 and len(list(synthetic.qrels_iter())) == 2000
    assert ir_datasets.load("irkit/limit-small").has_docs() and ir_datasets.load("irkit/limit").has_qrels()

    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "one", "excluded_ids": ["d2"]}))
    (folder / "qrels" / "test.tsv").write_text("q1 0 d1 1\nq1 0 gone 2\n")
    local = ir_datasets.load(f"local:{folder}?split=test")
    assert [doc.doc_id for doc in local.docs_iter()] == ["d2", "d10", "d1"], "in the order of the source"
    assert [doc.doc_id for doc in local.docs_iter()[1:]] == ["d10", "d1"] and local.docs_iter()[
        2
    ].text == "one"
    with pytest.raises(IndexError):
        local.docs_iter()[3]
    assert local.docs_store().get("d1").default_text() == "First one"
    assert set(local.docs_store().get_many(["d2", "gone"])) == {"d2"} and len(local.docs) == 3
    assert [(q.doc_id, q.relevance) for q in local.qrels_iter()] == [("d1", 1), ("gone", 2), ("d2", -100)]
    assert local.queries.lookup("q1").text == "one"
    assert not [name for _, _, files in os.walk(home) for name in files if "pkl" in name or "pickle" in name]
