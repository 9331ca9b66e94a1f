"""Made-up experiments of any size whose parts agree: values per query, funnels and details all follow from the same ranks.

Every query has three relevant documents. A first stage gives each a rank by chance, around how hard the document is to find; what
follows works on those ranks. So a test can work out by hand what a page must show.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from made_up_costs import STEPS, efficiency, stage_times
from numpy.typing import NDArray

from irkit.config.statistics import Statistics
from irkit.core.metric import parse_metric
from irkit.report.details import Details, Funnel, FunnelStep, Hits, QueryDetails, Relevant, Text
from irkit.report.efficiency import Efficiency
from irkit.report.results import (
    ChangedQuery,
    ChangedTerm,
    ChangeStep,
    CollectionInfo,
    ExplainedDocument,
    ExplainedQuery,
    PerQuery,
    Provenance,
    Results,
    Score,
)

METRICS = ("ndcg@10", "recall@100", "mrr@10", "recall@10")
RELEVANT = 3
K = 10
_ABSENT = 0
_YAML: list[list[Any]] = [
    [{"bm25": {"k": 100}}],
    [{"dense": {"model": "minilm", "k": 100}}],
    [{"fuse": {"method": "rrf", "of": [[{"bm25": {"k": 100}}], [{"dense": {"model": "minilm", "k": 100}}]]}}],
    [
        {
            "fuse": {
                "method": "rrf",
                "of": [[{"bm25": {"k": 100}}], [{"dense": {"model": "minilm", "k": 100}}]],
            }
        },
        {"cutoff": {"k": 20}},
        {"maxsim": {"model": "minilm"}},
    ],
]
_NAMES = ["bm25", "dense", "hybrid", "hybrid-rerank"]
_TEXT = """energy of the boundary layer in supersonic flow over a flat plate with heat transfer cells protein gene binding response
patients treatment study shows that measured values rise when temperature falls between both groups"""
_WORDS = _TEXT.split()
_Ranks = NDArray[np.int64]


class MadeUp(NamedTuple):
    """What ``open_report`` takes, in its order."""

    results: Results
    per_query: list[PerQuery]
    funnels: list[Funnel]
    details: list[Details]
    efficiency: Efficiency


def experiment(
    pipelines: int = 4,
    collections: int = 2,
    queries: int = 40,
    metrics: Sequence[str] = METRICS[:2],
    looked_into: int | None = 12,
    statistics: Statistics | None = None,
    seed: int = 0,
    names: Sequence[str] = (),
    collection_names: Sequence[str] = (),
    control: bool = False,
) -> MadeUp:
    """Return an experiment.

    Args:
        pipelines: how many: BM25, dense, their fusion, reranked fusion, and the same again with other luck.
        collections: how many.
        queries: of each collection.
        metrics: of ``ndcg``, ``recall`` and ``mrr``, with a cutoff.
        looked_into: of how many queries of a collection the details are there; None for all.
        statistics: how to test; by few draws when None.
        seed: of everything.
        names: of pipelines, in the place of the first ones.
        collection_names: likewise.
        control: whether the last pipeline is an order control of the one before.
    """
    called = [*names, *_NAMES[len(names) :], *(f"{_NAMES[i % 4]} {i // 4 + 1}" for i in range(4, pipelines))]
    called = list(dict.fromkeys(called))[:pipelines]
    sets = [*collection_names, *(f"suite/set-{i:02}" for i in range(len(collection_names), collections))]
    tables, funnels, details, scores, stages = [], [], [], [], []
    chance = random.Random(seed)
    for number, name in enumerate(sets[:collections]):
        draw = np.random.default_rng([seed, number])
        hard = draw.normal(2.0, 1.6, (queries, RELEVANT))
        ranks = {each: _ranks(place, hard, draw) for place, each in enumerate(called)}
        values = {
            each: {metric: _values(metric, steps[-1]).tolist() for metric in metrics}
            for each, steps in ranks.items()
        }
        qid = [f"q{i}" for i in range(queries)]
        shown = list(range(queries if looked_into is None else min(looked_into, queries)))
        tables.append(
            PerQuery(
                collection=name,
                qid=qid,
                values=values,
                judged={each: np.round(draw.uniform(0.5, 1, queries), 2).tolist() for each in called},
                judged_at=10,
                changed=_changed(called, shown, values, metrics[0], chance),
                explained=_explained(called, shown, chance),
            )
        )
        funnels += [_funnel(name, place, each, ranks[each]) for place, each in enumerate(called)]
        if shown:
            details.append(_details(name, called, ranks, shown, len(shown) == queries, chance))
        scores += [
            Score(collection=name, pipeline=each, metric=metric, value=float(np.mean(values[each][metric])))
            for each in called
            for metric in metrics
        ]
        stages += stage_times(name, called, queries)
    results = Results(
        experiment="made-up",
        description="An experiment that nobody ran.",
        metrics=list(metrics),
        pipelines={each: _YAML[place % 4] for place, each in enumerate(called)},
        baseline=called[0],
        controls={called[-1]: called[-2]} if control else {},
        scores=scores,
        stages=stages,
        collections=[
            CollectionInfo(
                name=name,
                documents=10_000,
                queries=queries,
                judged_queries=queries,
                judgements=RELEVANT * queries,
                fingerprint=f"{place:02}f3c" * 13,
                policy={"drop_self": False},
            )
            for place, name in enumerate(sets[:collections])
        ],
        provenance=Provenance(
            command="irkit run pipelines/made-up.yaml",
            created="2026-03-14T15:09:26+00:00",
            irkit="0.1.0",
            python="3.11.7",
            platform="Linux",
            cpus=2,
            packages={"numpy": "2.4.6"},
        ),
        seconds=102.7,
        statistics=statistics or Statistics(resamples=200),
    )
    return MadeUp(results, tables, funnels, details, efficiency(sets[:collections], called, chance))


def _ranks(place: int, hard: NDArray[np.float64], draw: np.random.Generator) -> list[_Ranks]:
    """After each step the rank of each relevant document, ``int64[Q, 3]``; 0 where it is not there."""

    def first(skill: float) -> NDArray[np.float64]:
        return hard - skill + draw.normal(0, 0.6, hard.shape)

    skill = 0.04 * (place // 4)
    kind = place % 4
    if kind < 2:
        return [_ordered(first(skill + 0.1 * kind), 100)]
    logs = [first(skill), first(skill + 0.1)]
    steps = [_ordered(each, 100) for each in logs]
    both = np.where((steps[0] > 0) | (steps[1] > 0), np.minimum(*logs), np.inf)
    steps.append(_ordered(both, 100))
    if kind == 3:
        steps.append(np.where(steps[2] <= 20, steps[2], _ABSENT))
        better = np.log(np.maximum(steps[3], 1)) - np.abs(draw.normal(0.4, 0.5, hard.shape))
        steps.append(_ordered(np.where(steps[3] > 0, better, np.inf), 20))
    return steps


def _ordered(logs: NDArray[np.float64], depth: int) -> _Ranks:
    """Ranks by e^logs, no two of a query the same; those beyond ``depth`` are absent."""
    order = np.argsort(logs, axis=1, kind="stable")
    sorted_ = np.take_along_axis(np.clip(np.ceil(np.exp(np.minimum(logs, 9.0))), 1, 9999), order, axis=1)
    for column in range(1, sorted_.shape[1]):
        sorted_[:, column] = np.maximum(sorted_[:, column], sorted_[:, column - 1] + 1)
    ranks = np.empty(logs.shape, np.int64)
    np.put_along_axis(ranks, order, sorted_.astype(np.int64), axis=1)
    return np.where((ranks <= depth) & np.isfinite(logs), ranks, _ABSENT)


def _values(metric: str, ranks: _Ranks) -> NDArray[np.float64]:
    k = parse_metric(metric).k or 10
    inside = (ranks > 0) & (ranks <= k)
    if metric.startswith("recall"):
        return inside.sum(axis=1) / RELEVANT
    if metric.startswith("mrr"):
        return np.where(inside, 1 / np.maximum(ranks, 1), 0).max(axis=1)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, RELEVANT + 1))
    return np.where(inside, 1 / np.log2(np.maximum(ranks, 1) + 1), 0).sum(axis=1) / ideal


def _funnel(collection: str, place: int, pipeline: str, ranks: list[_Ranks]) -> Funnel:
    steps = []
    first = np.zeros(ranks[0].shape, bool)
    for (stage, label, inputs), after in zip(STEPS[place % 4], ranks, strict=True):
        before = np.any([ranks[each] > 0 for each in inputs], axis=0) if inputs else np.zeros_like(first)
        first |= (after > 0) if not inputs else False
        steps.append(
            FunnelStep(
                stage=stage,
                label=label,
                inputs=list(inputs),
                relevant=int((after > 0).sum()),
                top=int(((after > 0) & (after <= K)).sum()),
                lost=int((before & (after == 0)).sum()),
            )
        )
    return Funnel(
        collection=collection,
        pipeline=pipeline,
        k=K,
        total=first.size,
        missed=int((~first).sum()),
        queries=len(first),
        steps=steps,
    )


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words))


def _details(
    collection: str,
    called: Sequence[str],
    ranks: dict[str, list[_Ranks]],
    shown: Sequence[int],
    whole: bool,
    chance: random.Random,
) -> Details:
    documents: list[Text] = []
    queries = []
    for row in shown:
        start = len(documents)
        documents += [
            Text(docno=f"d{row}-{i}", text=_sentence(chance, 30), more=i % 2 == 0) for i in range(24)
        ]
        others = list(range(start + RELEVANT, start + 24))
        hits = {}
        for pipeline in called:
            last = ranks[pipeline][-1][row]
            at = {int(rank): start + i for i, rank in enumerate(last) if rank > 0}
            filler = iter(chance.sample(others, K))
            docs = [at[rank] if rank in at else next(filler) for rank in range(1, K + 1)]
            hits[pipeline] = Hits(
                docs=docs,
                scores=[round(20 / rank, 4) for rank in range(1, K + 1)],
                gains=[1 if doc < start + RELEVANT else 0 if doc % 3 else None for doc in docs],
            )
        queries.append(
            QueryDetails(
                qid=f"q{row}",
                text=_sentence(chance, 8),
                relevant=[
                    Relevant(
                        doc=start + i,
                        gain=1,
                        ranks={
                            p: [int(step[row, i]) or None for step in steps] for p, steps in ranks.items()
                        },
                    )
                    for i in range(RELEVANT)
                ],
                hits=hits,
            )
        )
    return Details(
        collection=collection, documents=documents, queries=queries, chosen="all" if whole else "some"
    )


def _changed(
    called: Sequence[str],
    shown: Sequence[int],
    values: dict[str, dict[str, list[float]]],
    metric: str,
    chance: random.Random,
) -> list[ChangedQuery]:
    """The fusion, if there is one, has changed every second query."""
    if len(called) < 3:
        return []
    text = {row: _sentence(chance, 8) for row in shown[::2]}
    return [
        ChangedQuery(
            pipeline=called[2],
            qid=f"q{row}",
            query=before,
            steps=[
                ChangeStep(
                    stage="rm3",
                    before=before,
                    text=f"{before} enthalpy",
                    terms=[
                        ChangedTerm(term="enthalpy", weight=0.5),
                        ChangedTerm(term=before.split()[0], weight=0.25, original=True),
                    ],
                    told=["the gate let it through"],
                )
            ],
            metric=metric,
            delta=values[called[2]][metric][row] - values[called[0]][metric][row],
        )
        for row, before in text.items()
    ]


def _explained(called: Sequence[str], shown: Sequence[int], chance: random.Random) -> list[ExplainedQuery]:
    """The reranker, if there is one, has explained one document of every third query."""
    if len(called) < 4:
        return []
    return [
        ExplainedQuery(
            pipeline=called[3],
            stage="maxsim",
            qid=f"q{row}",
            query=_sentence(chance, 8),
            documents=[
                ExplainedDocument(
                    docno=f"d{row}-0",
                    score=20.0,
                    pieces=["boundary ", "layer ", "flow"],
                    weights=[0.7, 0.2, -0.1],
                    before=3,
                    gain=1,
                )
            ],
        )
        for row in shown[::3]
    ]
