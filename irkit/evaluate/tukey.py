"""Tukey's honestly significant differences, paired: all pairs of pipelines at once, on the same queries.

Tukey's test asks how far apart the best and the worst of m pipelines lie when all are the same, and calls a pair different
only where its difference is large beside that. So all pairs are corrected for, and no further correction is made.

The usual test (``statsmodels``' ``pairwise_tukeyhsd``, for instance) takes the pipelines for independent groups, and counts the
differences between queries, hard ones and easy ones, as noise: it hardly ever finds anything. Here a query is a block.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_BLOCK = 1 << 20
"""Numbers that are drawn at once: memory does not grow with the number of draws."""
_NODES = 128
"""Of each quadrature."""
_FAR = 8.5
"""A standard normal number lies beyond with a probability of 2e-17."""


def tukey_hsd(values: ArrayLike) -> FloatArray | None:
    """Return the p-values of all pairs by the studentized range, on a two-way analysis of variance without replication.

    With the residuals ``e_ij = x_ij - mean_i - mean_j + mean`` of n queries and m pipelines, their variance
    ``V = sum e_ij^2 / ((n - 1)(m - 1))``, and ``q = |mean_j - mean_k| / sqrt(V / n)``, the p-value is that of the studentized
    range of m on (n - 1)(m - 1) degrees of freedom (Tukey 1953; Sakai, Laboratory Experiments in Information Retrieval, 2018).

    Args:
        values: ``float[n, m]``, a row for each query and a column for each pipeline.

    Returns:
        ``float64[m, m]``, symmetric, with 1 on the diagonal; None for fewer than two queries. Where no noise is left, 0 for
        a pair that differs.

    Raises:
        ValueError: when they are not finite numbers, or fewer than two columns.
    """
    table = _table(values)
    n, m = table.shape
    if n < 2:
        return None
    means = table.mean(axis=0)
    residuals = table - means - table.mean(axis=1)[:, None] + table.mean()
    freedom = (n - 1) * (m - 1)
    error = float(np.sqrt((residuals**2).sum() / freedom / n))
    gaps = np.abs(means[:, None] - means[None, :])
    noise = 1e-12 * float(np.abs(table).max())  # of rounding
    result = np.ones((m, m))
    above = np.triu_indices(m, 1)
    if error <= noise:
        found = np.where(gaps[above] <= noise, 1.0, 0.0)
    else:
        found = np.array([studentized_range(q, m, freedom) for q in (gaps[above] / error).tolist()])
    result[above] = found
    result.T[above] = found
    return result


def studentized_range(q: float, m: int, freedom: int) -> float:
    """Return the probability that the range of ``m`` normal numbers, over an estimate of their standard deviation, exceeds ``q``.

    ``1 - E_s[R(q s)]`` with ``R(w) = m int phi(z) (Phi(z) - Phi(z - w))^(m-1) dz`` and ``freedom s^2`` chi-squared, both by
    Gauss-Legendre quadrature: within 1e-9 of ``scipy.stats.studentized_range``, which takes a second where queries are many.

    Args:
        q: the range, not negative.
        m: how many numbers, at least 2.
        freedom: degrees of freedom of the estimate, at least 1.
    """
    from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr

    half = freedom / 2
    nodes, weights = _legendre()
    # Where s and z have all but 1e-17 of their probability.
    low, high = np.sqrt(gammaincinv(half, 1e-17) / half), np.sqrt(gammainccinv(half, 1e-17) / half)
    s = low + (high - low) * nodes
    density = np.exp(
        np.log(2) + half * np.log(half) - gammaln(half) + (freedom - 1) * np.log(s) - half * s * s
    )
    z = -_FAR + 2 * _FAR * nodes
    phi = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    between = ndtr(z) - ndtr(z - q * s[:, None])
    ranges = m * 2 * _FAR * (between ** (m - 1) @ (phi * weights))
    inside = (high - low) * float((density * weights) @ ranges)
    return float(np.clip(1 - inside, 0.0, 1.0))


@cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    """Return nodes and weights of the quadrature from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2


def randomised_tukey_hsd(values: ArrayLike, draws: int = 10_000, seed: int = 0) -> FloatArray | None:
    """Return the p-values of all pairs by shuffling the pipelines of each query (Carterette, TOIS 2012, algorithm 1).

    Were all pipelines the same, the values of a query could as well stand in any order: the p-value of a pair is the share of
    random orders under which the best mean and the worst lie at least as far apart as this pair does, the one seen counted
    among them, ``(hits + 1) / (draws + 1)`` (Phipson and Smyth 2010, eq. 2). Nothing is assumed about how values are
    distributed. Of two pipelines it is the randomisation test.

    Args:
        values: ``float[n, m]``, a row for each query and a column for each pipeline.
        draws: how many orders to look at.
        seed: of the orders: the same gives the same p-values.

    Returns:
        ``float64[m, m]``, symmetric, with 1 on the diagonal; None for no query.

    Raises:
        ValueError: when they are not finite numbers, fewer than two columns, or ``draws`` is below 1.
    """
    table = _table(values)
    n, m = table.shape
    if draws < 1:
        raise ValueError(f"{draws} draws are too few")
    if not n:
        return None
    chance, ranges = np.random.default_rng(seed), np.empty(draws)
    most = max(1, _BLOCK // table.size)
    for start in range(0, draws, most):
        rows = min(most, draws - start)
        orders = chance.permuted(np.broadcast_to(table, (rows, n, m)), axis=2)
        ranges[start : start + rows] = np.ptp(orders.mean(axis=1), axis=1)
    means = table.mean(axis=0)
    gaps = np.abs(means[:, None] - means[None, :])
    # Means in another order differ in their last digits.
    ranges.sort()
    hits = draws - np.searchsorted(ranges, gaps - 1e-12 * float(np.abs(table).max()), side="left")
    result: FloatArray = (hits + 1) / (draws + 1)
    np.fill_diagonal(result, 1.0)
    return result


def _table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError(
            "values must be finite numbers, a row for each query and a column for each of two or more pipelines"
        )
    return table
