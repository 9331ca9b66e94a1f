"""Vectors that answer every combination of k documents in 2k dimensions, for any number of documents: a construction.

The counter-evidence to the curve of critical n. Documents lie on the trigonometric moment curve, document j at the angle
t_j = 2 pi j / n::

    x(t) = (cos t, sin t, cos 2t, sin 2t, ..., cos kt, sin kt) / sqrt(k)

All have unit length. For the documents at the angles a_1..a_k, the polynomial p(t) = prod_i (1 - cos(t - a_i)) is zero there and
positive elsewhere, and it is of degree k, so p(t) = c_0 - sqrt(k) <q, x(t)> for a vector q. With q as the query, scaled to unit
length, those k documents have the highest score and all others less. This is Gale's evenness condition for the cyclic
polytope (Gale 1963), the geometry behind arXiv 2601.20844 (2k dimensions suffice) and 2603.29519 (2k + 1 do, by Alon et al.
2016). What it costs is precision: the margin falls as 1 / n**(2k).
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from irkit.theory.margin import PROVEN, margin

_COMBINATIONS = 150_000


def moment_curve(n: int, relevant: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (queries [m, 2k], documents [n, 2k]), float64, of unit length, that rank the documents of every query first.

    Args:
        n: documents.
        relevant: [m, k], the documents of each query, k different ones.
    """
    m, k = relevant.shape
    angles = 2 * np.pi * np.arange(n) / n
    waves = np.arange(1, k + 1)
    documents = np.stack([np.cos(np.outer(angles, waves)), np.sin(np.outer(angles, waves))], 2).reshape(n, -1)
    # p as a sum of exp(i w t), w = -k..k, at index w + k: 1 - cos(t - a) has three such terms, a product convolves
    terms = np.zeros((m, 2 * k + 1), np.complex128)
    terms[:, k] = 1.0
    for chosen in relevant.T:
        turn = np.exp(-1j * angles[chosen])[:, None] / 2
        terms = terms - turn * np.roll(terms, 1, 1) - turn.conj() * np.roll(terms, -1, 1)
    up = terms[:, k + 1 :]  # p is real: the terms of -w are the conjugates of those of w
    queries = -np.stack([2 * up.real, -2 * up.imag], 2).reshape(m, -1)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries, documents / np.sqrt(k)


def checked(k: int) -> list[int]:
    """Return the numbers of documents that :func:`constructed` looks at: 512 at most, fewer the more combinations there are."""
    return [n for n in (2**i for i in range(1, 10)) if k < n and comb(n, k) <= _COMBINATIONS]


@cache
def constructed(k: int) -> dict[str, int | None]:
    """Return up to how many documents the construction answers every combination of k, by the precision of its vectors.

    Numbers of documents are powers of two, those of :func:`checked`.

    Returns:
        by float16, float32 and float64, to which the vectors are rounded; scores are float64. None: not even k+1.
    """
    sizes = checked(k)
    found: dict[str, int | None] = dict.fromkeys(("float16", "float32", "float64"))
    for n in sizes:
        relevant = np.array(list(combinations(range(n), k)), np.int64)
        queries, documents = moment_curve(n, relevant)
        for dtype, reached in found.items():
            before = n == sizes[0] or reached == n // 2
            if before and margin(queries.astype(dtype), documents.astype(dtype), relevant) > PROVEN:
                found[dtype] = n
    return found
