"""Reformulated queries end to end, with a tiny model, an endpoint and files: what is written once is paid once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from misbehaving import KEY, Endpoint, endpoint, refuse, user, well
from tiny_lm import tiny_lm
from toys import toy_collection

from irkit.core.errors import ConfigError, DataError, ModelError
from irkit.core.queries import Queries
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.stages.forms import TOLD
from irkit.stages.query.reformulate import Reformulate
from irkit.store import Store
from irkit.testing import check_stage


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "reformulate" not in registry.stage_names():
        registry.register("reformulate", Reformulate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm(tmp_path_factory.mktemp("lm") / "llama", layers=1)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return toy_collection(tmp_path / "collection")


def local(folder: Path, **options: Any) -> dict[str, Any]:
    return {"model": str(folder), "dtype": "float32", "device": "cpu", "max_tokens": 4, **options}


@pytest.mark.parametrize("method", ["query2doc", "genqr"])
def test_contract(folder: Path, tmp_path: Path, method: str) -> None:
    check_stage(
        make_stage(
            "reformulate", method=method, llm=local(folder), fb_docs=2 if method == "genqr" else None, words=5
        ),
        tmp_path,
    )


def test_a_second_run_writes_nothing_and_other_stages_share_texts(
    folder: Path, collection: Collection, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    queries = Queries.of(["lift", "drag", "lift "])

    def go(**options: Any) -> tuple[tuple[str, ...], Context]:
        context = Context(collection, store)
        stage = Reformulate(**options)
        return stage.run(Batch(queries), stage.prepare(context)).text, context

    first, context = go(method="query2doc", llm=local(folder))
    assert context.counts["texts/written"] == 3
    assert context.counts["tokens/completion"] > 0
    second, context = go(method="query2doc", llm=local(folder))
    assert second == first
    assert context.counts == {"texts/from the store": 3}
    assert "device" not in context.notes, "no model was loaded"
    _, context = go(method="query2doc", llm=local(folder), target="dense", repeat=1)
    assert context.counts == {"texts/from the store": 3}
    _, context = go(method="query2doc", llm=local(folder, seed=1))
    assert context.counts["texts/written"] == 3


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    with endpoint() as made:
        yield made


def remote(served: Endpoint, **options: Any) -> dict[str, Any]:
    return {
        "url": served.url.removesuffix("/chat/completions"),
        "model": "m",
        "key_variable": "TEST_LLM_KEY",
        "retries": 0,
        **options,
    }


def test_an_endpoint_end_to_end(served: Endpoint, collection: Collection, tmp_path: Path) -> None:
    check_stage(make_stage("reformulate", method="cot", llm=remote(served)), tmp_path)
    assert served.headers[0]["authorization"] == f"Bearer {KEY}"
    assert len(served.requests) == 20, "check_stage runs it many times, and pays once"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    stage, context = Reformulate(method="cot", llm=remote(served)), Context(collection, Store(tmp_path))
    stage.prepare(context)
    assert context.notes["endpoint"].startswith("127.0.0.1:")
    assert KEY not in str([context.notes, stage.meaning(), stage.identity(context), stage.model_dump()])


def test_a_failure_in_the_middle_keeps_what_was_paid(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    queries = Queries.of([f"query {number}" for number in range(12)])
    stage, store = Reformulate(method="cot", llm=remote(served)), Store(tmp_path / "store")
    served.plan = lambda n, body: refuse(503, "overloaded") if "query 7" in user(body) else well(body)
    with pytest.raises(ModelError, match="overloaded"):
        stage.run(Batch(queries), stage.prepare(Context(collection, store)))
    paid = len(store.ledger("texts"))
    assert 7 <= paid < 12
    served.plan, before = lambda _n, body: well(body), len(served.requests)
    found = stage.run(Batch(queries), stage.prepare(Context(collection, store)))
    assert isinstance(found, Queries)
    assert all(text.startswith("answer to") for text in found.text)
    assert len(served.requests) - before == 12 - paid


def test_a_key_that_is_not_there_is_told_before_anything_is_asked(
    served: Endpoint, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_LLM_KEY")
    stage = Reformulate(method="cot", llm=remote(served))
    with pytest.raises(ConfigError, match="TEST_LLM_KEY is not set"):
        stage.prepare(Context(collection, Store(tmp_path / "store")))
    monkeypatch.setenv("TEST_LLM_KEY", f"{KEY}\nX-Evil: 1")
    with pytest.raises(ConfigError, match="holds no key") as caught:
        stage.prepare(Context(collection, Store(tmp_path / "store")))
    assert KEY not in str(caught.value)


def test_a_file_of_texts(tmp_path: Path) -> None:
    small = open_collection(
        "irkit/limit-synthetic?n=12&queries=20&seed=7", Store(tmp_path / "s"), base=tmp_path
    )
    path = tmp_path / "texts.jsonl"
    rows = [{"id": qid, "texts": [f"instead of {qid}", "more"]} for qid in small.queries.qid]
    path.write_text("\n".join(map(json.dumps, rows)))
    stage = make_stage("reformulate", method="replace", llm={"file": str(path)})
    check_stage(stage, tmp_path)
    context = Context(small, Store(tmp_path / "s"), workspace=tmp_path)
    found = stage.run(Batch(small.queries), stage.prepare(context))
    assert isinstance(found, Queries)
    assert found.text == tuple(f"instead of {qid} more" for qid in small.queries.qid)
    with pytest.raises(DataError, match=r"'who asked this' is none of them\n.*by: text"):
        stage.run(Batch(Queries.of(["who asked this"])), stage.prepare(context))
    before = stage.identity(context)
    path.write_text("\n".join(map(json.dumps, rows[2:])))
    assert stage.identity(context) != before
    with pytest.raises(DataError) as caught:
        stage.prepare(context)
    assert repr(small.queries.qid[0]) in str(caught.value)
    assert repr(small.queries.qid[1]) in str(caught.value)
    path.unlink()
    assert stage.faults(tmp_path)[0][0] == "llm"


@pytest.mark.parametrize("task", ["biology", "psychology"])
def test_brights_reasoning_replaces_its_queries(test_data: Path, tmp_path: Path, task: str) -> None:
    import gzip

    file = test_data / "bright" / task / "queries.jsonl.gz"
    if not file.is_file():
        pytest.skip(f"no BRIGHT queries at {file}")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    queries = Queries(tuple(e["_id"] for e in entries), tuple(e["text"] for e in entries))
    small = open_collection("irkit/limit-synthetic?n=3&queries=2", Store(tmp_path / "s"), base=tmp_path)
    bright = Collection(**{**{f: getattr(small, f) for f in small.__dataclass_fields__}, "queries": queries})
    stage = Reformulate(method="replace", llm={"file": str(file), "field": "metadata.reasoning"})
    found = stage.run(
        Batch(queries), stage.prepare(Context(bright, Store(tmp_path / "s"), workspace=tmp_path))
    )
    assert isinstance(found, Queries)
    assert len(found) > 20
    for entry, text, told in zip(entries, found.text, found.columns[TOLD], strict=True):
        assert text == " ".join(entry["metadata"]["reasoning"].split())
        assert text != entry["text"]
        assert told
