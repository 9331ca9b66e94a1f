"""Pipelines against the baseline, query by query: how many are won and lost, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irkit.report.results import PerQuery, Results

TIE = 1e-9
"""Values this near are equal: the sums of floats in a metric may differ in their last digits."""

BINS = 12
"""Of a histogram, on each side of zero."""


@dataclass(frozen=True)
class Histogram:
    """How the differences are distributed, without the ties.

    Attributes:
        limit: the bins span -limit to +limit, the same for all pipelines of a table.
        losses: counts from -limit up to zero, ``BINS`` of them.
        wins: counts from zero up to +limit.
    """

    limit: float
    losses: tuple[int, ...]
    wins: tuple[int, ...]

    @property
    def top(self) -> int:
        """The highest count."""
        return max(*self.losses, *self.wins)


@dataclass(frozen=True)
class Comparison:
    """One pipeline against the baseline on one metric."""

    pipeline: str
    wins: int
    ties: int
    losses: int
    mean: float
    histogram: Histogram


@dataclass(frozen=True)
class CompareTable:
    """All pipelines of one collection on one metric; ``absent`` lack values for it."""

    collection: str
    metric: str
    baseline: str
    queries: int
    rows: tuple[Comparison, ...]
    absent: tuple[str, ...]


def compare_tables(results: Results, per_query: Sequence[PerQuery]) -> list[CompareTable]:
    """Return a table per collection and metric for which the baseline and another pipeline have values."""
    baseline = results.baseline
    if baseline is None:
        return []
    tables = []
    for values in per_query:
        pipelines = dict.fromkeys([*results.pipelines, *values.values])
        for metric in results.metrics:
            base = values.values.get(baseline, {}).get(metric)
            if not base:
                continue
            deltas: dict[str, list[float]] = {}
            for pipeline in pipelines:
                ours = values.values.get(pipeline, {}).get(metric)
                if pipeline != baseline and ours is not None:
                    deltas[pipeline] = [a - b for a, b in zip(ours, base, strict=True)]
            if not deltas:
                continue
            absent = tuple(p for p in pipelines if p != baseline and p not in deltas)
            limit = max(abs(d) for row in deltas.values() for d in row)
            rows = tuple(_compare(pipeline, row, limit) for pipeline, row in deltas.items())
            tables.append(CompareTable(values.collection, metric, baseline, len(base), rows, absent))
    return tables


def _compare(pipeline: str, deltas: Sequence[float], limit: float) -> Comparison:
    wins, losses = [0] * BINS, [0] * BINS
    for value in deltas:
        if abs(value) <= TIE:
            continue
        place = min(int(abs(value) / limit * BINS), BINS - 1)
        if value > 0:
            wins[place] += 1
        else:
            losses[BINS - 1 - place] += 1
    won, lost = sum(wins), sum(losses)
    return Comparison(
        pipeline,
        wins=won,
        ties=len(deltas) - won - lost,
        losses=lost,
        mean=sum(deltas) / len(deltas),
        histogram=Histogram(limit, tuple(losses), tuple(wins)),
    )
