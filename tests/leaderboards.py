"""Experiments of a few scores, to be ranked together, and rankings of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irkit.report.leaderboard import Leaderboard, in_order, leaderboard
from irkit.report.leaderboard_history import Snapshot, snapshot_of
from irkit.report.leaderboard_view import make_view
from irkit.report.results import CollectionInfo, Provenance, Results, Score, StageTime

Scores = Mapping[str, Mapping[str, float]]
"""pipeline -> collection -> ndcg@10"""


def info(name: str, **changed: Any) -> CollectionInfo:
    usual = {
        "documents": 10,
        "queries": 3,
        "judged_queries": 3,
        "judgements": 5,
        "fingerprint": f"f-{name}",
        "qrels_fingerprint": f"q-{name}",
        "policy": {"drop_self": False, "macro": None, "relevance_level": 1},
    }
    return CollectionInfo(name=name, **{**usual, **changed})


def made(
    experiment: str,
    day: int,
    scores: Scores,
    *,
    steps: Mapping[str, list[Any]] | None = None,
    infos: Sequence[CollectionInfo] = (),
    metric: str = "ndcg@10",
    models: Mapping[str, str] | None = None,
    **changed: Any,
) -> Results:
    names = list(dict.fromkeys(name for of_one in scores.values() for name in of_one))
    given_infos = {each.name: each for each in infos}
    return Results(
        experiment=experiment,
        metrics=[metric],
        pipelines={p: (steps or {}).get(p, [{p: {"k": 10}}]) for p in scores},
        scores=[
            Score(collection=c, pipeline=p, metric=metric, value=value)
            for p, of_one in scores.items()
            for c, value in of_one.items()
        ],
        stages=[
            StageTime(
                collection=names[0],
                pipeline=pipeline,
                position=0,
                stage="dense",
                label="dense",
                seconds=0,
                prepare_seconds=0,
                queries=3,
                cached_queries=0,
                artifact_bytes=0,
                notes={"model": model},
            )
            for pipeline, model in (models or {}).items()
        ],
        collections=[given_infos.get(name, info(name)) for name in names],
        provenance=Provenance(
            command=f"irkit run {experiment}.yaml",
            created=f"2026-03-{day:02d}T12:00:00+00:00",
            irkit="0.1.0",
            python="3.11.7",
            platform="Linux",
            cpus=2,
            packages={},
        ),
        seconds=1.0,
        **changed,
    )


def board(*experiments: Results, controls: bool = False, **options: Any) -> Leaderboard:
    ordered = [(each.experiment, each) for each in in_order(experiments)]
    return leaderboard(experiments, make_view(ordered, **options), controls=controls)


def snapshot(*experiments: Results, date: str = "d", **options: Any) -> Snapshot:
    return snapshot_of(board(*experiments, **options), date, "0.1.0")
