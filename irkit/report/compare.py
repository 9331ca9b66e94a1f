"""Pipelines against the baseline, query by query: how many are won and lost, by how much, and whether it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irkit.evaluate.significance import ALPHA, cohens_d, holm, t_test
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
    """One pipeline against the baseline on one metric.

    Attributes:
        effect: the mean difference in standard deviations of the differences; None where they are all the same.
        p_value: of the paired t-test over the queries, corrected after Holm for the pipelines of the table; None for one query.
    """

    pipeline: str
    wins: int
    ties: int
    losses: int
    mean: float
    histogram: Histogram
    effect: float | None
    p_value: float | None

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.p_value is not None and self.p_value < ALPHA


@dataclass(frozen=True)
class CompareTable:
    """All pipelines of one collection on one metric; ``absent`` lack values for it.

    The pipelines of a table are one family of tests; those of other metrics and collections are families of their own.
    """

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
                    deltas[pipeline] = [difference(a, b) for a, b in zip(ours, base, strict=True)]
            if not deltas:
                continue
            absent = tuple(p for p in pipelines if p != baseline and p not in deltas)
            limit = max(abs(d) for row in deltas.values() for d in row)
            p_values = holm([t_test(row) for row in deltas.values()])
            rows = tuple(
                _compare(pipeline, row, limit, p)
                for (pipeline, row), p in zip(deltas.items(), p_values, strict=True)
            )
            tables.append(CompareTable(values.collection, metric, baseline, len(base), rows, absent))
    return tables


def difference(ours: float, base: float) -> float:
    """Return the difference of a query's values; 0 where they are equal but for rounding, which no test shall take for more."""
    delta = ours - base
    return 0.0 if abs(delta) <= TIE else delta


def _compare(pipeline: str, deltas: Sequence[float], limit: float, p_value: float | None) -> Comparison:
    wins, losses = [0] * BINS, [0] * BINS
    for value in deltas:
        if not value:
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
        effect=cohens_d(deltas),
        p_value=p_value,
    )
