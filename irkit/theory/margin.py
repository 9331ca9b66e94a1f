"""By how much the relevant documents of every query stand above all others: the exact answer to "is it solved?"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PROVEN = 1e-12
"""A margin above it is no work of rounding: a float64 dot product of two vectors of unit length and up to 4096 dimensions is within
4096 * 2**-53 = 4.6e-13 of the true one, and a margin is the difference of two."""

_BLOCK = 1 << 23
"""Scores held at a time: 64 MiB of float64."""


def margin(
    queries: NDArray[np.floating], documents: NDArray[np.floating], relevant: NDArray[np.int64]
) -> float:
    """Return the least, over all queries, of (lowest score of a relevant document - highest score of any other), in float64.

    Positive: every query's best k documents are its relevant ones, and no tie decides.

    Args:
        queries: [m, d], of any float type.
        documents: [n, d]; n > k.
        relevant: [m, k], the documents of each query.
    """
    docs = documents.astype(np.float64).T
    least, step = np.inf, max(1, _BLOCK // len(documents))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step].astype(np.float64) @ docs
        wanted = relevant[start : start + step]
        lowest = np.take_along_axis(scores, wanted, 1).min(1)
        np.put_along_axis(scores, wanted, -np.inf, 1)
        least = min(least, float((lowest - scores.max(1)).min()))
    return least
