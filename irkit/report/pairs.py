"""Pairs of pipelines, tested query by query as the experiment asks: one family of tests a collection and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irkit.config.statistics import Statistics
from irkit.evaluate.significance import (
    bonferroni,
    bootstrap_means,
    cohens_d,
    holm,
    intervals,
    randomisation_tests,
    t_test,
    wilcoxon_test,
)
from irkit.evaluate.tukey import randomised_tukey_hsd, tukey_hsd
from irkit.report import format as fmt
from irkit.report.results import PerQuery, Results

TIE = 1e-9
"""Values this near are equal: the sums of floats in a metric may differ in their last digits."""

_NUMBERS = 1 << 24
"""Means of draws that are kept at once, where one metric has no more."""

_FloatArray = NDArray[np.float64]
_P = float | None


@dataclass(frozen=True)
class Pair:
    """One pipeline against another on one metric, over the judged queries.

    Attributes:
        deltas: ours less the other's for each query, with exact zeros for ties, ``float64[Q]``.
        effect: the mean difference in standard deviations of the differences; None where they are all the same.
        interval: the bootstrap's, of the mean difference.
        p_value: corrected; None where nothing can be tested.
        alpha: what the p-value is compared with.
    """

    ours: str
    other: str
    deltas: _FloatArray
    effect: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    alpha: float

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(self.deltas.mean())

    @property
    def wins(self) -> int:
        """On how many queries ours is better."""
        return int((self.deltas > 0).sum())

    @property
    def losses(self) -> int:
        """On how many queries ours is worse."""
        return int((self.deltas < 0).sum())

    @property
    def ties(self) -> int:
        """On how many queries they are the same."""
        return len(self.deltas) - self.wins - self.losses

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below alpha."""
        return self.p_value is not None and self.p_value < self.alpha

    @property
    def better(self) -> str | None:
        """Who is significantly better; None when nobody is."""
        if not self.significant or not self.mean:
            return None
        return self.ours if self.mean > 0 else self.other


@dataclass(frozen=True)
class Family:
    """All tests of one collection and metric, which are corrected together. Those of others are families of their own.

    Attributes:
        pipelines: those with values, in the order of the experiment.
        pairs: each pipeline against the baseline, or all pairs; the baseline is never ``ours``.
        absent: pipelines without values.
        judged: the share of the first ``judged_at`` hits that is judged, per pipeline: what is not judged counts as irrelevant,
            and a low share makes a low score doubtful.
    """

    collection: str
    metric: str
    queries: int
    pipelines: tuple[str, ...]
    absent: tuple[str, ...]
    pairs: tuple[Pair, ...]
    statistics: Statistics
    judged: dict[str, float]
    judged_at: int | None

    @property
    def how(self) -> str:
        """How the p-values come about, in words."""
        return how(self.statistics, len(self.pipelines), len(self.pairs))


def families(results: Results, per_query: Sequence[PerQuery]) -> list[Family]:
    """Return the families that have a pair to test, by collection and metric in the order of the results."""
    found = []
    for values in per_query:
        known = list(dict.fromkeys([*results.pipelines, *values.values]))
        tables = {
            metric: {
                name: np.asarray(values.values[name][metric])
                for name in known
                if values.values.get(name, {}).get(metric)
            }
            for metric in results.metrics
        }
        pairs = {metric: _pairs(columns, results) for metric, columns in tables.items()}
        asked = {metric: columns for metric, columns in tables.items() if pairs[metric]}
        judged = {name: float(np.mean(each)) for name, each in values.judged.items() if each}
        for metric, means in _means(asked, results.statistics):
            columns = tables[metric]
            found.append(
                Family(
                    values.collection,
                    metric,
                    len(values.qid),
                    tuple(columns),
                    tuple(name for name in known if name not in columns),
                    _test(columns, pairs[metric], means, results.statistics),
                    results.statistics,
                    judged,
                    values.judged_at,
                )
            )
    return found


def how(statistics: Statistics, pipelines: int, pairs: int) -> str:
    """Say how p-values come about: ``of the two-sided paired t-test, corrected after Holm for 3 pipelines``."""
    draws = f", {fmt.plural(statistics.resamples, 'draw')}"
    match statistics.test:
        case "tukey":
            test = "of Tukey's test on a two-way analysis of variance of queries and pipelines"
        case "randomised-tukey":
            test = f"of the randomised Tukey test{draws}"
        case "t":
            test = "of the two-sided paired t-test"
        case "wilcoxon":
            test = "of the two-sided Wilcoxon signed-rank test"
        case "randomisation":
            test = f"of the two-sided randomisation test{draws}"
    if statistics.test.endswith("tukey"):
        return f"{test}, which holds for all pairs of {fmt.plural(pipelines, 'pipeline')}"
    number = fmt.plural(pairs, "pipeline" if statistics.pairs == "baseline" else "pair")
    match statistics.corrected:
        case "none":
            return f"{test}, not corrected for their number"
        case "holm":
            return f"{test}, corrected after Holm for {number}"
        case "bonferroni":
            return f"{test}, corrected after Bonferroni for {number}"


def differences(ours: _FloatArray, other: _FloatArray) -> _FloatArray:
    """Return the differences of queries' values; 0 where they are equal but for rounding, which no test shall take for more."""
    delta = ours - other
    return np.where(np.abs(delta) <= TIE, 0.0, delta)


def _pairs(columns: dict[str, _FloatArray], results: Results) -> list[tuple[str, str]]:
    baseline = results.baseline if results.baseline in columns else None
    if results.statistics.pairs == "baseline":
        return [(name, baseline) for name in columns if name != baseline] if baseline is not None else []
    order = sorted(columns, key=lambda name: name != baseline)  # the baseline first, else as they stand
    return [(ours, other) for j, ours in enumerate(order) for other in order[:j]]


def _means(
    tables: dict[str, dict[str, _FloatArray]], statistics: Statistics
) -> Iterator[tuple[str, _FloatArray]]:
    """Yield for each metric the means of its pipelines in every draw of the bootstrap, ``float64[draws, pipelines]``.

    The draws are of queries, and with one seed the same for all metrics: drawing takes longest, so it is done once for as many
    metrics as memory allows.
    """
    most = max(1, _NUMBERS // statistics.resamples)
    waiting = list(tables)
    while waiting:
        now, width = waiting[:1], len(tables[waiting[0]])
        while len(now) < len(waiting) and width + len(tables[waiting[len(now)]]) <= most:
            width += len(tables[waiting[len(now)]])
            now.append(waiting[len(now)])
        waiting = waiting[len(now) :]
        stacked = np.stack([each for metric in now for each in tables[metric].values()], axis=1)
        means = bootstrap_means(stacked, statistics.resamples, statistics.seed)
        ends = np.cumsum([len(tables[metric]) for metric in now])
        yield from zip(now, np.split(means, ends[:-1], axis=1), strict=True)


def _test(
    columns: dict[str, _FloatArray],
    pairs: list[tuple[str, str]],
    means: _FloatArray,
    statistics: Statistics,
) -> tuple[Pair, ...]:
    deltas = [differences(columns[ours], columns[other]) for ours, other in pairs]
    table = np.stack(deltas, axis=1)
    place = {name: number for number, name in enumerate(columns)}
    gaps = means[:, [place[ours] for ours, _ in pairs]] - means[:, [place[other] for _, other in pairs]]
    found = intervals(gaps, statistics.level)
    p_values = _corrected(_p_values(columns, pairs, deltas, table, statistics), statistics)
    return tuple(
        Pair(ours, other, delta, cohens_d(delta), interval, p, statistics.alpha)
        for (ours, other), delta, interval, p in zip(pairs, deltas, found, p_values, strict=True)
    )


def _p_values(
    columns: dict[str, _FloatArray],
    pairs: list[tuple[str, str]],
    deltas: list[_FloatArray],
    table: _FloatArray,
    statistics: Statistics,
) -> list[_P]:
    draws, seed = statistics.resamples, statistics.seed
    match statistics.test:
        case "t":
            return [t_test(each) for each in deltas]
        case "wilcoxon":
            return [wilcoxon_test(each) for each in deltas]
        case "randomisation":
            return randomisation_tests(table, draws, seed)
    place = {name: number for number, name in enumerate(columns)}
    values = np.round(np.stack(list(columns.values()), axis=1), 9)  # as TIE has it
    grid = tukey_hsd(values) if statistics.test == "tukey" else randomised_tukey_hsd(values, draws, seed)
    return [None if grid is None else float(grid[place[ours], place[other]]) for ours, other in pairs]


def _corrected(p_values: list[_P], statistics: Statistics) -> list[_P]:
    match statistics.corrected:
        case "holm":
            return holm(p_values)
        case "bonferroni":
            return bonferroni(p_values)
        case "none":
            return p_values
