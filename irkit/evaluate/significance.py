"""Whether a difference between two pipelines is more than chance: tests over queries, their correction, and how large it is.

Every function takes numbers and returns numbers: the differences ``d[i] = ours[i] - baseline[i]`` of a metric, one a query. A query
is the unit that is drawn from a population, so what a test says holds for queries like these on this collection.

The paired t-test and the randomisation test agree on retrieval metrics where queries are many; sign and Wilcoxon tests do not look
at what is asked, the difference of means (Smucker, Allan and Carterette, CIKM 2007). The randomisation test assumes nothing about
how differences are distributed: ask it where they are few or odd. Whoever tests several pipelines must correct
(:func:`holm`, :func:`bonferroni`): of 20 that differ by nothing but chance, one has p < 0.05. :mod:`irkit.evaluate.tukey` tests all
pairs at once.

What draws has a form that takes several columns of differences, one for each pair of pipelines: they share their draws, and a
hundred pairs take hardly longer than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

ALPHA = 0.05
"""Below it a corrected p-value is called significant."""
_BLOCK = 1 << 20
"""Numbers that are drawn at once: memory does not grow with the number of draws."""
_EXACT_RANKS = 50
"""Up to so many differences the signed-rank test counts all assignments: scipy's limit too."""


def t_test(differences: ArrayLike) -> float | None:
    """Return the two-sided p-value of the paired t-test (Student, Biometrika 1908): that the mean difference is 0.

    ``t = mean / (s / sqrt(n))`` with ``s`` the standard deviation with n - 1 below it, on n - 1 degrees of freedom.

    Args:
        differences: ``float[n]``.

    Returns:
        None for fewer than two queries, of which nothing can be said; 1 where all differences are 0; 0 where all are the same
        other number.

    Raises:
        ValueError: when they are not finite numbers in one row.
    """
    values = _row(differences)
    if len(values) < 2:
        return None
    from scipy.special import stdtr  # scipy.stats takes four times as long to import

    effect = cohens_d(values)
    if effect is None:
        return 0.0 if values[0] else 1.0
    return float(2 * stdtr(len(values) - 1, -abs(effect) * np.sqrt(len(values))))


def randomisation_test(differences: ArrayLike, draws: int = 100_000, seed: int = 0) -> float | None:
    """Return the two-sided p-value of Fisher's randomisation test (The Design of Experiments, 1935, section 21).

    Were the pipelines the same, each difference could as well have the other sign: the p-value is the share of all assignments of
    signs whose sum is at least as far from 0 as the one seen. Exact where there are no more than ``draws`` assignments; else of
    random ones, the one seen counted among them, ``(hits + 1) / (draws + 1)``, which is never 0 (Phipson and Smyth 2010, eq. 2).

    Args:
        differences: ``float[n]``.
        draws: how many assignments to look at, at most.
        seed: of the random ones: the same gives the same p-value.

    Returns:
        None for no query.

    Raises:
        ValueError: when the differences are not finite numbers in one row, or ``draws`` is below 1.
    """
    values = _row(differences)
    return randomisation_tests(values[:, None], draws, seed)[0]


def randomisation_tests(columns: ArrayLike, draws: int = 100_000, seed: int = 0) -> list[float | None]:
    """Return :func:`randomisation_test` of each column, with the same assignments of signs.

    Args:
        columns: ``float[n, pairs]``, a row for each query.
        draws: as there.
        seed: as there.

    Raises:
        ValueError: as there.
    """
    values = _table(columns)
    n, pairs = values.shape
    if draws < 1:
        raise ValueError(f"{draws} draws are too few")
    if not n:
        return [None] * pairs
    # Sums in another order differ in their last digits.
    seen = np.abs(values.sum(axis=0)) - 1e-12 * np.abs(values).sum(axis=0)
    if n < draws.bit_length():
        hits, seen_itself, made = _extreme(values, seen, _all_signs(n)), 0, 1 << n
    else:
        hits, seen_itself, made = _extreme(values, seen, _random_signs(n, draws, seed)), 1, draws + 1
    return [(int(each) + seen_itself) / made for each in hits]


def wilcoxon_test(differences: ArrayLike) -> float | None:
    """Return the two-sided p-value of the signed-rank test (Wilcoxon, Biometrics Bulletin 1945): that they lie about 0 evenly.

    Differences of 0 are dropped, as Wilcoxon did; equal absolute differences share the mean of their ranks. Up to 50 that are
    left the p-value is exact, by counting all assignments of signs to these ranks, shared ones too; beyond, it is that of the
    normal distribution with the variance ``sum r_i^2 / 4``, which is corrected for shared ranks, not for continuity. So it
    equals ``scipy.stats.wilcoxon`` where no rank is shared, and beyond 50; with shared ranks, from 14 differences on, scipy
    takes the normal distribution.

    Args:
        differences: ``float[n]``.

    Returns:
        None for no query; 1 where all differences are 0.

    Raises:
        ValueError: when they are not finite numbers in one row.
    """
    values = _row(differences)
    if not len(values):
        return None
    values = values[values != 0]
    if not len(values):
        return 1.0
    doubled = _doubled_ranks(np.abs(values))
    positive, total = int(doubled[values > 0].sum()), int(doubled.sum())
    if len(values) > _EXACT_RANKS:
        from scipy.special import ndtr

        z = abs(2 * positive - total) / np.sqrt(float((doubled.astype(np.float64) ** 2).sum()))
        return float(2 * ndtr(-z))
    ways = np.zeros(total + 1)  # of reaching each sum of doubled ranks; below 2^50, so exact
    ways[0] = 1.0
    for rank in doubled.tolist():
        ways[rank:] = ways[rank:] + ways[:-rank]
    tail = float(ways[: min(positive, total - positive) + 1].sum())
    return min(1.0, 2 * tail / 2.0 ** len(values))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979), in the order given.

    The i-th smallest of m becomes ``max over j <= i of min(1, (m - j + 1) p_(j))``. Calling those below alpha significant, one is
    called so wrongly with a probability of at most alpha, whatever the tests have to do with each other.

    Args:
        p_values: of one family of tests; None stands for a test that could not be made, counts for nothing, and stays None.

    Raises:
        ValueError: when one is not between 0 and 1.
    """
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for rank, (p, place) in enumerate(made):
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no p-value")
        greatest = max(greatest, min(1.0, (len(made) - rank) * p))
        corrected[place] = greatest
    return corrected


def bonferroni(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values times their number, at most 1, in the order given (Dunn, JASA 1961). :func:`holm` is never weaker.

    Args:
        p_values: of one family of tests; None stands for a test that could not be made, counts for nothing, and stays None.

    Raises:
        ValueError: when one is not between 0 and 1.
    """
    made = [p for p in p_values if p is not None]
    for p in made:
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no p-value")
    return [None if p is None else min(1.0, len(made) * p) for p in p_values]


def cohens_d(differences: ArrayLike) -> float | None:
    """Return the effect size of paired differences, ``d_z = mean / s`` (Cohen, Statistical Power Analysis, 1988, section 2.3.5).

    Unlike a p-value it does not grow with the number of queries: by Cohen's rule 0.2 is small, 0.5 medium and 0.8 large.

    Returns:
        None where it is not defined: fewer than two queries, or all differences the same.

    Raises:
        ValueError: when the differences are not finite numbers in one row.
    """
    values = _row(differences)
    if len(values) < 2 or (values == values[0]).all():
        return None
    return float(values.mean() / values.std(ddof=1))


def bootstrap_interval(
    differences: ArrayLike, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the bootstrap's percentile interval of the mean difference (Efron and Tibshirani 1993, section 13.3).

    Args:
        differences: ``float[n]``.
        level: the share of the resampled means that lie inside.
        draws: how many times n queries are drawn, with replacement.
        seed: of the draws: the same gives the same interval.

    Returns:
        The lower and the upper end; None for no query.

    Raises:
        ValueError: when the differences are not finite numbers in one row, ``level`` is not between 0 and 1, or ``draws`` below 1.
    """
    return bootstrap_intervals(_row(differences)[:, None], level, draws, seed)[0]


def bootstrap_intervals(
    columns: ArrayLike, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> list[tuple[float, float] | None]:
    """Return :func:`bootstrap_interval` of each column, from the same draws of queries.

    Args:
        columns: ``float[n, pairs]``, a row for each query.
        level: as there.
        draws: as there.
        seed: as there.

    Raises:
        ValueError: as there.
    """
    values = _table(columns)
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level {level}, {draws} draws")
    if not len(values):
        return [None] * values.shape[1]
    return intervals(bootstrap_means(values, draws, seed), level)


def bootstrap_means(columns: ArrayLike, draws: int = 10_000, seed: int = 0) -> FloatArray:
    """Return the means of each column in each draw of n queries, with replacement: ``float64[draws, columns]``.

    Differences of means are means of differences: what is drawn once for pipelines serves all their pairs.

    Args:
        columns: ``float[n, columns]``, a row for each of one or more queries.
        draws: how many.
        seed: of the draws.

    Raises:
        ValueError: when they are not finite numbers, there is no query, or ``draws`` is below 1.
    """
    values = _table(columns)
    n = len(values)
    if not n or draws < 1:
        raise ValueError(f"{n} queries, {draws} draws")
    chance, means = np.random.default_rng(seed), np.empty((draws, values.shape[1]))
    # Sums around a value of the column itself: a column of equal values has their mean, to the last digit.
    centre, start = values[0], 0
    for rows in _blocks(draws, n):
        drawn = chance.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = centre + times.astype(np.float64) @ (values - centre) / n
        start += rows
    return means


def intervals(means: FloatArray, level: float) -> list[tuple[float, float] | None]:
    """Return the share ``level`` in the middle of each column, ``float64[draws, columns]``, as its lower and upper end."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _row(differences: ArrayLike) -> FloatArray:
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("differences must be finite numbers in one row")
    return values


def _table(columns: ArrayLike) -> FloatArray:
    values = np.asarray(columns, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            "differences must be finite numbers, a row for each query and a column for each pair"
        )
    return values


def _doubled_ranks(sizes: FloatArray) -> NDArray[np.int64]:
    """Return twice the ranks of positive numbers, from 2; equal ones, but for rounding, share the mean of their ranks."""
    order = np.argsort(sizes, kind="stable")
    rises = np.diff(sizes[order]) > 1e-12 * sizes.max()
    group = np.concatenate([[0], np.cumsum(rises)])
    first = np.searchsorted(group, group, side="left")
    last = np.searchsorted(group, group, side="right")
    doubled = np.empty(len(sizes), np.int64)
    doubled[order] = first + 1 + last
    return doubled


def _blocks(rows: int, width: int) -> Iterator[int]:
    most = max(1, _BLOCK // width)
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _all_signs(n: int) -> Iterator[NDArray[np.bool_]]:
    start = 0
    for rows in _blocks(1 << n, n):
        yield (np.arange(start, start + rows)[:, None] >> np.arange(n)) & 1 == 1
        start += rows


def _random_signs(n: int, draws: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    chance = np.random.default_rng(seed)
    for rows in _blocks(draws, n):
        yield chance.integers(2, size=(rows, n), dtype=np.uint8) == 1


def _extreme(values: FloatArray, seen: FloatArray, signs: Iterator[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Count, for each column, the assignments of signs whose sum is at least as far from 0 as what was seen."""
    total, hits = values.sum(axis=0), np.zeros(values.shape[1], np.int64)
    for each in signs:
        sums = 2 * (each.astype(np.float64) @ values) - total
        hits += (np.abs(sums) >= seen).sum(axis=0)
    return hits
