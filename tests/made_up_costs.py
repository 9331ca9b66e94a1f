"""What made-up experiments cost: times of a run's stages, and a measurement of its pipelines."""

from __future__ import annotations

import random
from collections.abc import Sequence

from irkit.report.efficiency import Build, Efficiency, Latency, PipelineEfficiency, StageEfficiency
from irkit.report.results import StageTime

STEPS: list[tuple[tuple[str, str, tuple[int, ...]], ...]] = [
    (("bm25", "BM25, k1 0.9, b 0.4", ()),),
    (("dense", "dense: minilm", ()),),
    (("bm25", "BM25, k1 0.9, b 0.4", ()), ("dense", "dense: minilm", ()), ("fuse", "fuse: rrf", (0, 1))),
    (
        ("bm25", "BM25, k1 0.9, b 0.4", ()),
        ("dense", "dense: minilm", ()),
        ("fuse", "fuse: rrf", (0, 1)),
        ("cutoff", "cutoff (k=20)", (2,)),
        ("maxsim", "maxsim: minilm", (3,)),
    ),
]
"""The stages of the four kinds of pipelines: name, label, and whose rankings each takes."""
_SECONDS = {
    "bm25": (0.7, 5.2),
    "dense": (2.4, 38.9),
    "fuse": (0.004, 0.0),
    "cutoff": (0.002, 0.0),
    "maxsim": (41.7, 0.9),
}
_BYTES = {"bm25": 3_412_998, "dense": 7_961_216, "maxsim": 611_204_096}


def stage_times(collection: str, called: Sequence[str], queries: int) -> list[StageTime]:
    """Return what each stage of a run took."""
    return [
        StageTime(
            collection=collection,
            pipeline=pipeline,
            position=position,
            stage=stage,
            label=label,
            seconds=_SECONDS[stage][0] * (1 + 0.1 * (place // 4)),
            prepare_seconds=_SECONDS[stage][1],
            queries=queries,
            cached_queries={"bm25": queries, "dense": queries // 3}.get(stage, 0),
            artifact_bytes=_BYTES.get(stage, 0),
            notes={"device": "cpu", "dtype": "float32"} if stage in ("dense", "maxsim") else {},
            node=f"{place // 4:02}{stage}{collection}",
        )
        for place, pipeline in enumerate(called)
        for position, (stage, label, _) in enumerate(STEPS[place % 4])
    ]


def efficiency(collections: Sequence[str], called: Sequence[str], chance: random.Random) -> Efficiency:
    """Return what a measurement of all pipelines found: the sum of their stages, give or take."""
    stages, pipelines = [], []
    for collection in collections:
        for place, pipeline in enumerate(called):
            total, size = 0.0, 0
            for position, (stage, label, _) in enumerate(STEPS[place % 4]):
                mean = 1000 * _SECONDS[stage][0] / 40 * chance.uniform(0.8, 1.2)
                total += mean
                size += _BYTES.get(stage, 0)
                stages.append(
                    StageEfficiency(
                        collection=collection,
                        pipeline=pipeline,
                        position=position,
                        stage=stage,
                        label=label,
                        node=f"{place // 4:02}{stage}{collection}",
                        cold_seconds=_SECONDS[stage][1] + 0.01,
                        first_ms=20 * mean,
                        latency=_latency(mean),
                        throughput=2000 / mean,
                        flops=4.4e9 if stage == "dense" else None,
                        tokens={"prompt": 812.5} if stage == "maxsim" else {},
                        memory=90_000_000,
                        builds=[
                            Build(
                                key=f"{stage}-{collection}",
                                kind=f"{stage} index",
                                bytes=_BYTES[stage],
                                seconds=12.5,
                            )
                        ]
                        if stage in _BYTES
                        else [],
                    )
                )
            pipelines.append(
                PipelineEfficiency(
                    collection=collection,
                    pipeline=pipeline,
                    latency=_latency(total),
                    throughput=1500 / total,
                    bytes=size,
                    flops=None if place % 4 == 0 else 4.4e9,
                    tokens={"prompt": 812.5} if place % 4 == 3 else {},
                    memory=150_000_000 + 1_000_000 * place,
                )
            )
    return Efficiency(
        experiment="made-up",
        created="2026-03-14T16:00:00+00:00",
        command="irkit measure pipelines/made-up.yaml",
        machine="AMD EPYC, 2 processors",
        device="cpu",
        threads=2,
        irkit="0.1.0",
        queries=100,
        warmup=10,
        memory_by="VmHWM",
        isolated=True,
        stages=stages,
        pipelines=pipelines,
    )


def _latency(mean: float) -> Latency:
    return Latency(
        samples=100, mean=mean, p50=0.9 * mean, p95=1.7 * mean, p99=2.6 * mean, warmed=2000, steady=True
    )
