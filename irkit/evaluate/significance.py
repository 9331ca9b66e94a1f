"""Whether a difference between two pipelines is more than chance: tests over queries, their correction, and how large it is.

Every function takes numbers and returns numbers: the differences ``d[i] = ours[i] - baseline[i]`` of a metric, one a query. A query
is the unit that is drawn from a population, so what a test says holds for queries like these on this collection.

The paired t-test and the randomisation test agree on retrieval metrics where queries are many; sign and Wilcoxon tests do not look
at what is asked, the difference of means (Smucker, Allan and Carterette, CIKM 2007). The randomisation test assumes nothing about
how differences are distributed: ask it where they are few or odd. Whoever tests several pipelines must correct
(:func:`holm`): of 20 that differ by nothing but chance, one has p < 0.05.
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
    if draws < 1:
        raise ValueError(f"{draws} draws are too few")
    if not len(values):
        return None
    seen = (
        abs(values.sum()) - 1e-12 * np.abs(values).sum()
    )  # sums in another order differ in their last digits
    exact = len(values) < draws.bit_length()
    if exact:
        every = 1 << len(values)
        return _extreme(values, seen, _all_signs(len(values))) / every
    return (_extreme(values, seen, _random_signs(len(values), draws, seed)) + 1) / (draws + 1)


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
    values = _row(differences)
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level {level}, {draws} draws")
    if not len(values):
        return None
    chance, means = np.random.default_rng(seed), []
    for rows in _blocks(draws, len(values)):
        means.append(values[chance.integers(len(values), size=(rows, len(values)))].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _row(differences: ArrayLike) -> FloatArray:
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("differences must be finite numbers in one row")
    return values


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


def _extreme(values: FloatArray, seen: float, signs: Iterator[NDArray[np.bool_]]) -> int:
    """Count the assignments of signs whose sum is at least as far from 0 as what was seen."""
    return sum(int((np.abs(np.where(each, values, -values).sum(axis=1)) >= seen).sum()) for each in signs)
