"""An experiment small enough to work its figures out by hand: what the leaderboard and the pictures must show of it.

ndcg@10         a/one   b/two   c/three   Both (a, b)
bm25            0.50    0.60    0.40      0.55            the baseline
dense           0.55    0.60    (none)    0.575
rerank          0.70    0.58    0.49      0.64
rerank shuffled 0.72    0.40    0.30      0.56            an order control

Per query the values go up and down by SPREAD around these. On every collection bm25 takes 1 ms a query, dense 5, rerank 5 + 95.
"""

from __future__ import annotations

from irkit.config.statistics import Statistics
from irkit.report.efficiency import Efficiency, Latency, PipelineEfficiency, StageEfficiency
from irkit.report.results import (
    CollectionInfo,
    Expectation,
    PerQuery,
    Provenance,
    ReferenceScore,
    Results,
    Score,
    StageTime,
)

SHUFFLED = "rerank (shuffled)"
COLLECTIONS = ("a/one", "b/two", "c/three")
QUERIES = 20
NDCG = {
    "bm25": (0.50, 0.60, 0.40),
    "dense": (0.55, 0.60, None),
    "rerank": (0.70, 0.58, 0.49),
    SHUFFLED: (0.72, 0.40, 0.30),
}
RECALL = {
    "bm25": (0.90, 0.80, 0.70),
    "dense": (0.95, 0.70, 0.60),
    "rerank": (0.90, 0.80, 0.70),
    SHUFFLED: (0.90, 0.80, 0.70),
}
SPREAD = {"bm25": 0.0, "dense": 0.2, "rerank": 0.1, SHUFFLED: 0.01}
STAGES = {
    "bm25": [("bm25", 0.001, 0)],
    "dense": [("dense", 0.005, 1_000_000)],
    "rerank": [("dense", 0.005, 1_000_000), ("maxsim", 0.095, 100_000_000)],
}
YAML = {
    "bm25": [{"bm25": {"k": 10}}],
    "dense": [{"dense": {"k": 10}}],
    "rerank": [{"dense": {"k": 10}}, {"maxsim": {"depth": 5}}],
    SHUFFLED: [{"dense": {"k": 10}}, {"shuffle": {"seed": 1}}, {"maxsim": {"depth": 5}}],
}


def known_scores() -> tuple[Results, list[PerQuery]]:
    """Return the experiment, and its values per query."""
    scores, per_query, stages = [], [], []
    for place, collection in enumerate(COLLECTIONS):
        values: dict[str, dict[str, list[float]]] = {}
        for metric, table in (("ndcg@10", NDCG), ("recall@100", RECALL)):
            for pipeline, row in table.items():
                mean = row[place]
                if mean is None:
                    continue
                scores.append(Score(collection=collection, pipeline=pipeline, metric=metric, value=mean))
                swing = SPREAD[pipeline] if metric == "ndcg@10" else 0.0
                of_query = [mean + (swing if query % 2 else -swing) for query in range(QUERIES)]
                values.setdefault(pipeline, {})[metric] = of_query
        per_query.append(
            PerQuery(collection=collection, qid=[str(query) for query in range(QUERIES)], values=values)
        )
        stages += [
            StageTime(
                collection=collection,
                pipeline=pipeline,
                position=position,
                stage=stage,
                label=stage,
                seconds=seconds * QUERIES,
                prepare_seconds=3.0,
                queries=QUERIES,
                cached_queries=0,
                artifact_bytes=size,
                timed_queries=QUERIES,
                node=f"{collection}:{stage}",
            )
            for pipeline, nodes in STAGES.items()
            for position, (stage, seconds, size) in enumerate(nodes)
        ]
    results = Results(
        experiment="known scores",
        metrics=["ndcg@10", "recall@100"],
        statistics=Statistics(resamples=100),
        pipelines=YAML,
        baseline="bm25",
        controls={SHUFFLED: "rerank"},
        scores=scores,
        stages=stages,
        collections=[
            CollectionInfo(
                name=name,
                documents=100,
                queries=QUERIES,
                judged_queries=QUERIES,
                judgements=QUERIES,
                fingerprint="f" * 64,
                policy={},
            )
            for name in COLLECTIONS
        ],
        expected=[_expected("a/one", "bm25", 0.50, 0.50), _expected("b/two", "rerank", 0.65, 0.58)],
        averages={
            "Both": {"a/one": ["a/one"], "b/two": ["b/two"]},
            "Four": {name: [name] for name in (*COLLECTIONS, "d/four")},
        },
        reference=[
            _published("a/one", "collection", 0.505, 0.50, "near"),
            _published("Both", "average", 0.55, 0.55, "match"),
        ],
        provenance=Provenance(
            command="irkit run known.yaml --set 'a=1'",
            created="2026-03-14T15:09:26+00:00",
            irkit="0.1.0",
            python="3.11.7",
            platform="Linux",
            cpus=2,
            packages={},
        ),
        seconds=1.0,
    )
    return results, per_query


def known_efficiency() -> Efficiency:
    """Return measurements of the experiment: dense 2 ms, rerank 50 ms; bm25 was not measured."""
    stages, pipelines = [], []
    for collection in COLLECTIONS:
        for pipeline, p50, size, flops in (
            ("dense", 2.0, 1_000_000, 3e9),
            ("rerank", 50.0, 101_000_000, 9e9),
        ):
            latency = Latency(samples=20, mean=p50, p50=p50, p95=2 * p50, p99=3 * p50)
            stages += [
                StageEfficiency(
                    collection=collection,
                    pipeline=pipeline,
                    position=position,
                    stage=stage,
                    label=stage,
                    node=f"{collection}:{stage}",
                    cold_seconds=1.0,
                    first_ms=9.0,
                    latency=latency,
                    throughput=None,
                )
                for position, (stage, _, _) in enumerate(STAGES[pipeline])
            ]
            pipelines.append(
                PipelineEfficiency(
                    collection=collection,
                    pipeline=pipeline,
                    latency=latency,
                    throughput=4000 / p50,
                    bytes=size,
                    flops=flops,
                )
            )
    return Efficiency(
        experiment="known scores",
        created="2026-03-14T15:09:26+00:00",
        command="irkit measure known.yaml",
        irkit="0.1.0",
        machine="a quiet machine",
        device="cpu",
        threads=1,
        queries=20,
        warmup=2,
        memory_by="VmHWM",
        isolated=True,
        stages=stages,
        pipelines=pipelines,
    )


def _expected(collection: str, pipeline: str, expected: float, value: float) -> Expectation:
    return Expectation(
        collection=collection,
        pipeline=pipeline,
        metric="ndcg@10",
        expected=expected,
        value=value,
        tolerance=0.002,
        status="match" if abs(value - expected) <= 0.002 else "off",
    )


def _published(collection: str, kind: str, published: float, value: float, status: str) -> ReferenceScore:
    return ReferenceScore.model_validate(
        {
            "collection": collection,
            "kind": kind,
            "pipeline": "bm25",
            "metric": "ndcg@10",
            "reference": "a-paper",
            "published": published,
            "value": value,
            "status": status,
            "title": "A paper",
            "source": "Somebody (1, 2020)",
            "url": "https://example.org",
        }
    )
