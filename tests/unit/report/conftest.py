"""A made-up experiment with everything that a report can show."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from irkit.report.results import (
    CollectionInfo,
    Expectation,
    PerQuery,
    Provenance,
    Results,
    Score,
    StageTime,
)

COLLECTIONS = {"beir/scifact/test": (5183, 300), "irkit/limit-small": (46, 1000)}
METRICS = ["ndcg@10", "recall@10", "recall@100"]
PIPELINES: dict[str, list[Any]] = {
    "bm25": [{"bm25": {"k": 100}}],
    "dense": [{"dense": {"model": "minilm", "k": 100}}],
    "hybrid-maxsim": [
        {
            "fuse": {
                "method": "rrf",
                "of": [[{"bm25": {"k": 100}}], [{"dense": {"model": "minilm", "k": 100}}]],
            }
        },
        {"maxsim": {"model": "minilm", "depth": 50}},
    ],
}
_LEVELS = {"bm25": 0.62, "dense": 0.60, "hybrid-maxsim": 0.68}
_COSTS = {
    "bm25": ("bm25", "BM25, k1 0.9, b 0.4", 0.71, 5.2, 3_412_998, {"threads": 2}),
    "dense": (
        "dense",
        "dense: minilm",
        2.4,
        38.9,
        7_961_216,
        {"device": "cpu", "dtype": "float32", "batch_size": 64},
    ),
    "fuse": ("fuse", "fuse: rrf", 0.0042, 0.0, 0, {}),
    "maxsim": (
        "maxsim",
        "maxsim: minilm, depth 50",
        41.7,
        0.9,
        611_204_096,
        {"device": "cpu", "dtype": "float32"},
    ),
}
_NODES = {"bm25": ["bm25"], "dense": ["dense"], "hybrid-maxsim": ["bm25", "dense", "fuse", "maxsim"]}


@pytest.fixture
def per_query() -> list[PerQuery]:
    return make_per_query()


@pytest.fixture
def results(per_query: list[PerQuery]) -> Results:
    return make_results(per_query)


@pytest.fixture
def make(per_query: list[PerQuery]) -> Callable[..., Results]:
    """Return a maker of the results with some fields replaced."""
    return lambda **changes: make_results(per_query).model_copy(update=changes)


def make_per_query() -> list[PerQuery]:
    """Half of the queries tie with the baseline, as they do in life."""
    chance = random.Random(20)
    tables = []
    for collection, (_, queries) in COLLECTIONS.items():
        values: dict[str, dict[str, list[float]]] = {pipeline: {} for pipeline in PIPELINES}
        for metric in METRICS:
            base = [round(min(1.0, max(0.0, chance.gauss(0.62, 0.3))), 6) for _ in range(queries)]
            for pipeline, level in _LEVELS.items():
                shift = level - _LEVELS["bm25"]
                moved = [
                    value
                    if pipeline == "bm25" or chance.random() < 0.5
                    else round(min(1.0, max(0.0, value + 2 * shift + chance.gauss(0, 0.15))), 6)
                    for value in base
                ]
                values[pipeline][metric] = moved
        tables.append(PerQuery(collection=collection, qid=[str(i) for i in range(queries)], values=values))
    return tables


def make_results(per_query: list[PerQuery]) -> Results:
    scores = [
        Score(collection=table.collection, pipeline=pipeline, metric=metric, value=sum(values) / len(values))
        for table in per_query
        for pipeline, metrics in table.values.items()
        for metric, values in metrics.items()
        # One score is missing, as when a metric is not defined for a run.
        if (table.collection, pipeline, metric) != ("irkit/limit-small", "dense", "recall@100")
    ]
    value = {(s.collection, s.pipeline, s.metric): s.value for s in scores}
    stages = []
    for collection, (_, queries) in COLLECTIONS.items():
        for pipeline, nodes in _NODES.items():
            for position, node in enumerate(nodes):
                stage, label, seconds, prepare, size, notes = _COSTS[node]
                cached = {"bm25": queries, "dense": queries // 3}.get(node, 0)
                stages.append(
                    StageTime(
                        collection=collection,
                        pipeline=pipeline,
                        position=position,
                        stage=stage,
                        label=label,
                        seconds=seconds,
                        prepare_seconds=prepare,
                        queries=queries,
                        cached_queries=cached,
                        artifact_bytes=size,
                        notes=notes,
                        node=f"{collection}:{node}",
                    )
                )
    first, second = COLLECTIONS
    return Results(
        experiment="quickstart",
        description="BM25, a dense retriever and their fusion with late interaction on top, on two small collections.",
        metrics=METRICS,
        pipelines=PIPELINES,
        baseline="bm25",
        scores=scores,
        stages=stages,
        collections=[
            CollectionInfo(
                name=name,
                documents=documents,
                queries=queries,
                judged_queries=queries,
                judgements=queries + 39,
                fingerprint=f"{index}f3c" * 16,
                policy={"drop_self": index == 1, "macro": None},
                warnings={"empty document text": (3, "corpus.jsonl:812 (4983)")} if index else {},
            )
            for index, (name, (documents, queries)) in enumerate(COLLECTIONS.items())
        ],
        expected=[
            _expect(first, "bm25", "ndcg@10", value[first, "bm25", "ndcg@10"], 0.0002),
            _expect(second, "hybrid-maxsim", "ndcg@10", value[second, "hybrid-maxsim", "ndcg@10"], -0.0231),
        ],
        provenance=Provenance(
            command="irkit run pipelines/quickstart.yaml --set 'pipelines.bm25.0.k=100'",
            created="2026-03-14T15:09:26+00:00",
            irkit="0.1.0",
            python="3.11.7",
            platform="Linux-6.1-x86_64-with-glibc2.36",
            cpus=2,
            packages={"faiss-cpu": "1.15.1", "numpy": "2.4.6", "pyserini": "1.6.0", "torch": "2.13.0+cpu"},
            git={"commit": "0123456789abcdef0123456789abcdef01234567", "branch": "main", "dirty": True},
        ),
        seconds=102.7,
    )


def _expect(collection: str, pipeline: str, metric: str, value: float, off_by: float) -> Expectation:
    return Expectation(
        collection=collection,
        pipeline=pipeline,
        metric=metric,
        expected=value - off_by,
        value=value,
        tolerance=0.003,
        status="match" if abs(off_by) <= 0.003 else "off",
    )
