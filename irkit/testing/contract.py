"""The contract of a stage, as a test.

A plug-in's test is two lines::

    def test_contract(tmp_path):
        check_stage(MyStage(k=10), tmp_path)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irkit.config.experiment import Experiment
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline, Step
from irkit.pipeline.stage import Batch, QueryStage, Stage
from irkit.store import Store

COLLECTION = "irkit/limit-synthetic?n=12&queries=20&seed=7"


def small_collection(store: Store) -> Collection:
    """Return 12 documents and 20 queries that irkit makes itself."""
    return open_collection(COLLECTION, store, base=Path())


def check_stage(
    stage: Stage, folder: Path, *, other_execution: Mapping[str, Any] | None = None, upstreams: int = 2
) -> None:
    """Assert that a stage keeps the contract on which caching and the graph rely.

    Its YAML form reads back as an equal stage; it returns what it declares, for as many queries as it was given; its results are
    the same for a batch, for its queries one by one, in another order, and when it is run again; it never returns what a query
    excludes; a reranker, a filter or a fusion returns documents that it was given, and a filter leaves their scores as they
    are; it accepts no queries at all.

    Args:
        stage: the stage, registered under its name.
        folder: an empty folder for the store.
        other_execution: other values of options that are declared unable to change a result.
        upstreams: how many rankings a fusion is given.

    Raises:
        AssertionError: naming the clause that was broken.
    """
    store = Store(folder / "store")
    collection = small_collection(store)
    context = Context(collection, store)
    _check_yaml(stage)
    excluded = tuple(  # of different sizes, so that a depth taken from the whole batch shows
        np.unique((row + np.arange(row % 4)) % len(collection.docs)).astype(np.int32)
        for row in range(len(collection.queries))
    )
    source = collection.queries
    queries = Queries(source.qid, source.text, excluded)
    upstream = _upstream(stage, collection, queries, upstreams)
    state = stage.prepare(context)
    whole = _run(stage, queries, upstream, state)
    _check_result(stage, whole, queries)
    _check_hits(stage, whole, upstream)
    assert _same(_run(stage, queries, upstream, state), whole), (
        f"{stage.name}: run again, it returns other results"
    )
    for name, rows in (
        ("one by one", [[row] for row in range(len(queries))]),
        ("in reverse", [list(range(len(queries)))[::-1]]),
    ):
        for chosen in rows:
            part = _run(stage, queries.take(chosen), tuple(each.take(chosen) for each in upstream), state)
            assert _same(part, whole.take(chosen)), (
                f"{stage.name}: run {name}, queries {chosen[:3]} have other results than in the batch"
            )
    assert _same(_run(stage, queries, upstream, stage.prepare(context)), whole), (
        f"{stage.name}: prepared again, it returns other results"
    )
    if other_execution:
        other = stage.model_copy(update=dict(other_execution))
        assert other.meaning() == stage.meaning(), (
            f"{stage.name}: {sorted(other_execution)} are not declared as execution options"
        )
        again = _run(other, queries, upstream, other.prepare(context))
        assert _same(again, whole), f"{stage.name}: {dict(other_execution)} changes the results"
    nothing = _run(stage, queries.take([]), tuple(each.take([]) for each in upstream), state)
    assert len(nothing) == 0, f"{stage.name}: no queries gave {len(nothing)} results"


def _check_yaml(stage: Stage) -> None:
    step = Step(stage, _branches(stage))
    pipeline = Pipeline((step,)) if stage.needs != "one" and stage.produces == "rankings" else None
    if pipeline is not None:
        written = Experiment.of(
            "contract", collections=[COLLECTION], metrics=["ndcg@10"], pipelines={"it": pipeline}
        )
        assert written.pipelines["it"] == pipeline, f"{stage.name}: its YAML form reads back as another stage"
    assert type(stage)(**stage.model_dump(mode="json")) == stage, (
        f"{stage.name}: its options do not survive JSON"
    )
    assert hash(stage) == hash(stage.model_copy()), f"{stage.name}: equal stages have different hashes"


def _branches(stage: Stage) -> tuple[Pipeline, ...]:
    from irkit.pipeline.registry import make_stage

    return tuple(Pipeline.of(make_stage("bm25", k=k)) for k in (10, 20)) if stage.needs == "many" else ()


def _upstream(stage: Stage, collection: Collection, queries: Queries, upstreams: int) -> tuple[Rankings, ...]:
    """Random candidates, the same on every machine, without what queries exclude."""
    count = {"none": 0, "optional": 1, "one": 1, "many": upstreams}[stage.needs]
    random = np.random.Generator(np.random.PCG64(1))
    made = []
    for _ in range(count):
        docs = [random.permutation(len(collection.docs))[:8] for _ in range(len(queries))]
        scores = [np.round(random.random(len(each)) * 4) / 4 for each in docs]  # ties on purpose
        made.append(Rankings.from_lists(docs, scores).without(queries.exclude))
    return tuple(made)


def _run(stage: Stage, queries: Queries, upstream: tuple[Rankings, ...], state: Any) -> Rankings | Queries:
    return stage.run(Batch(queries, upstream), state)


def _check_result(stage: Stage, result: Rankings | Queries, queries: Queries) -> None:
    wanted = Queries if isinstance(stage, QueryStage) or stage.produces == "queries" else Rankings
    assert isinstance(result, wanted), (
        f"{stage.name}: declares {stage.produces}, returned {type(result).__name__}"
    )
    assert len(result) == len(queries), f"{stage.name}: {len(queries)} queries gave {len(result)} results"
    if isinstance(result, Rankings):
        rebuilt = Rankings.build(result.offsets, result.doc, result.score)
        assert rebuilt == result, f"{stage.name}: its rankings are not in canonical order"
        assert result.without(queries.exclude) == result, (
            f"{stage.name}: it returned a document that its query excludes"
        )
        assert len(result.doc), f"{stage.name}: it returned no hit for any query"
    else:
        assert result.qid == queries.qid, f"{stage.name}: it changed the ids of the queries"


def _check_hits(stage: Stage, result: Rankings | Queries, upstream: tuple[Rankings, ...]) -> None:
    if not (isinstance(result, Rankings) and upstream and stage.kind in ("reranker", "filter", "fusion")):
        return
    for query, (doc, score) in enumerate(result):
        given = np.concatenate([each[query][0] for each in upstream])
        assert np.isin(doc, given).all(), f"{stage.name}: it returned documents that it was not given"
        if stage.kind == "filter":
            before = dict(zip(given.tolist(), upstream[0][query][1].tolist(), strict=True))
            assert [before[code] for code in doc.tolist()] == score.tolist(), (
                f"{stage.name}: a filter changed scores"
            )


def _same(one: Rankings | Queries, other: Rankings | Queries) -> bool:
    if isinstance(one, Rankings) and isinstance(other, Rankings):
        return one == other
    return isinstance(one, Queries) and isinstance(other, Queries) and one.keys() == other.keys()
