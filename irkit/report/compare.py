"""Pipelines against the baseline, query by query: how many are won and lost, by how much, and whether it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irkit.report.pairs import Family, Pair, families
from irkit.report.results import PerQuery, Results


@dataclass(frozen=True)
class Comparison:
    """One pipeline against the baseline on one metric.

    Attributes:
        effect: the mean difference in standard deviations of the differences; None where they are all the same.
        interval: the bootstrap's, of the mean difference.
        p_value: of the test that the experiment asks for, corrected for the family of the table; None for one query.
        significant: whether the p-value is below the experiment's alpha.
        judged: the share of the first hits that is judged; None when not known.
    """

    pipeline: str
    wins: int
    ties: int
    losses: int
    mean: float
    effect: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    significant: bool
    judged: float | None


@dataclass(frozen=True)
class CompareTable:
    """All pipelines of one collection on one metric; ``absent`` lack values for it.

    The pipelines of a table are one family of tests, or belong to that of all pairs; other metrics and collections have their own.

    Attributes:
        how: how the p-values come about, in words.
        alpha: below it a p-value is called significant.
        level: of the intervals.
        judged: the baseline's share of judged hits among the first ``judged_at``; None when not known.
    """

    collection: str
    metric: str
    baseline: str
    queries: int
    rows: tuple[Comparison, ...]
    absent: tuple[str, ...]
    how: str
    alpha: float
    level: float
    judged: float | None
    judged_at: int | None


def compare_tables(
    results: Results, per_query: Sequence[PerQuery], tested: Sequence[Family] | None = None
) -> list[CompareTable]:
    """Return a table per collection and metric for which the baseline and another pipeline have values.

    ``tested`` are the families of these results where they are at hand already: a large experiment takes seconds.
    """
    if results.baseline is None:
        return []
    tables = []
    for family in families(results, per_query) if tested is None else tested:
        pairs = [pair for pair in family.pairs if pair.other == results.baseline]
        if not pairs:
            continue
        tables.append(
            CompareTable(
                family.collection,
                family.metric,
                results.baseline,
                family.queries,
                tuple(_compare(pair, family.judged.get(pair.ours)) for pair in pairs),
                family.absent,
                family.how,
                family.statistics.alpha,
                family.statistics.level,
                family.judged.get(results.baseline),
                family.judged_at,
            )
        )
    return tables


def _compare(pair: Pair, judged: float | None) -> Comparison:
    return Comparison(
        pair.ours,
        wins=pair.wins,
        ties=pair.ties,
        losses=pair.losses,
        mean=pair.mean,
        effect=pair.effect,
        interval=pair.interval,
        p_value=pair.p_value,
        significant=pair.significant,
        judged=judged,
    )
