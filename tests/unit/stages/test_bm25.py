"""The stage: what decides its results, what is shared, and what a run of it returns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.data.collection import Collection, EvalPolicy, Qrels
from irkit.data.docstore import DocStore
from irkit.pipeline.context import Context, Runtime
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.stages.forms import with_terms
from irkit.store import Store

TEXTS = {"a": "red green", "b": "red", "c": "red", "d": "blue red", "e": "", "f": "green blue blue"}


def write_docs(folder: Path) -> DocStore:
    data, bounds = bytearray(), []
    for docno, text in sorted(TEXTS.items()):
        row = [len(data)]
        for part in (docno, "", text):
            data += part.encode()
            row.append(len(data))
        bounds.append(row)
    (folder / "text.bin").write_bytes(bytes(data))
    np.save(folder / "bounds.npy", np.array(bounds, dtype=np.int64))
    return DocStore(folder)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    nothing = np.zeros(0, np.int32)
    collection = Collection(
        name="tiny",
        docs=write_docs(tmp_path),
        queries=Queries.of(["red", "blue"]),
        qrels=Qrels(np.zeros(3, np.int64), nothing, nothing),
        policy=EvalPolicy(),
        docs_fingerprint="tiny-docs",
        fingerprint="tiny",
    )
    return Context(collection, Store(tmp_path / "store"), Runtime(threads=1))


def names(context: Context, stage: BM25, queries: Queries) -> list[list[str]]:
    rankings = stage.run(Batch(queries), stage.prepare(context))
    return [context.collection.docs.docnos(docs) for docs, _ in rankings]


@pytest.mark.parametrize(
    "options",
    [
        {"k1": -0.1},
        {"k1": float("nan")},
        {"b": 1.01},
        {"b": -1},
        {"analyzer": "poter"},
        {"k": 0},
        {"threads": 0},
        {"kk": 1},
    ],
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BM25(**options)  # type: ignore[arg-type]


def test_threads_mean_nothing_and_everything_else_does() -> None:
    assert BM25(threads=7).meaning() == BM25().meaning()
    for changed in (BM25(k=9), BM25(k1=1.2), BM25(b=0.75), BM25(analyzer="krovetz"), BM25(query_side=True)):
        assert changed.meaning() != BM25().meaning()
    json.dumps(BM25().meaning())


def test_an_index_is_shared_by_what_it_does_not_depend_on(context: Context) -> None:
    def keys(stage: BM25) -> list[str]:
        return [recipe.key for recipe in stage.artifacts(context)]

    assert keys(BM25()) == keys(BM25(k=5, k1=2, b=0.1, query_side=True, threads=3))
    assert keys(BM25()) != keys(BM25(analyzer="none"))
    other = replace(context, collection=replace(context.collection, docs_fingerprint="other"))
    assert keys(BM25()) != [recipe.key for recipe in BM25().artifacts(other)]
    assert set(BM25().identity(context)) == {"anserini"}


@pytest.mark.java
def test_equal_scores_come_by_id_descending_and_the_cutoff_is_exact(context: Context) -> None:
    queries = Queries.of(["red", "blue", "nothing here", ""])
    assert names(context, BM25(), queries) == [["c", "b", "d", "a"], ["f", "d"], [], []]
    assert names(context, BM25(k=1), queries) == [["c"], ["f"], [], []]
    assert names(context, BM25(k=3), queries)[0] == ["c", "b", "d"]


@pytest.mark.java
def test_weighted_terms_are_refused_where_a_text_is_to_be_weighed(context: Context) -> None:
    queries = Queries.of(["red", "blue"])
    with pytest.raises(ConfigError, match=r"query_side: true weighs a text(?s:.)*put reset before"):
        names(context, BM25(query_side=True), with_terms(queries, "porter", [None, {"red": 1.0}]))
    plain = with_terms(queries, "porter", [None, None])
    stage = BM25(query_side=True)
    assert names(context, stage, plain) == names(context, stage, queries)


@pytest.mark.java
def test_excluded_documents_make_room_for_others(context: Context) -> None:
    queries = Queries(("1",), ("red",), (np.array([1, 2], np.int32),))
    assert names(context, BM25(k=2), queries) == [["d", "a"]]


@pytest.mark.java
def test_the_index_is_built_once_and_what_is_announced_is_what_is_built(context: Context) -> None:
    BM25().prepare(context)
    BM25(k1=2.0).prepare(context)
    assert [a.key for a in context.store.artifacts()] == [recipe.key for recipe in BM25().artifacts(context)]


@pytest.mark.java
def test_options_reach_lucene(context: Context) -> None:
    def scores(stage: BM25, text: str) -> list[float]:
        found = stage.run(Batch(Queries.of([text])), stage.prepare(context))
        return [float(score) for score in found.score]

    plain = scores(BM25(), "red red blue")
    for changed in (BM25(k1=0.0), BM25(b=1.0), BM25(query_side=True)):
        assert scores(changed, "red red blue") != plain
    assert scores(BM25(), "reds") != []
    assert scores(BM25(analyzer="none"), "reds") == []
