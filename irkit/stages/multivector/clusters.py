"""k-means of the tokens of a few documents, as scikit-learn has it: Euclidean distances, plain means, the best of some starts.

:mod:`irkit.stages.multivector.kmeans` is for millions of tokens and keeps centroids on the sphere; here some hundred tokens of
one query are clustered, and a centroid's length, which says how alike its tokens are, is part of the result.

Tokens and centroids are put on the grid of :mod:`irkit.stages.multivector.grid`, on which dot products are exact: neither the
matrix library nor its threads can move an assignment. Equal distances go to the lower number.
"""

from __future__ import annotations

from math import fsum, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector.grid import on_grid

Doubles = NDArray[np.float64]
Numbers = NDArray[np.int64]

_ROUNDS = 300
"""At most so many rounds of assigning and averaging a start; a few dozen are enough."""


def clusters(vectors: NDArray[Any], count: int, *, seed: int = 0, starts: int = 10) -> NDArray[np.float32]:
    """Return centroids, ``float32[m, dim]``, in the order in which the seeds were drawn; m is ``count``, or less where there are
    fewer different vectors.

    Args:
        vectors: ``[n, dim]``, of length 32 at most.
        count: how many clusters.
        seed: of the draws.
        starts: how often to start anew; the one with the smallest sum of squared distances is returned, the first of equals.
    """
    rows = on_grid(vectors)
    if count == 0 or len(rows) == 0:
        return np.zeros((0, rows.shape[1]), np.float32)
    random = np.random.Generator(np.random.PCG64(seed))
    squares = np.square(rows).sum(axis=1)
    between = squares[:, None] - 2 * (rows @ rows.T) + squares
    best, least = rows[:0], np.inf
    for _ in range(starts):
        centroids, spread = _lloyd(rows, squares, rows[_seeds(between, count, random)])
        if spread < least:
            best, least = centroids, spread
    return best.astype(np.float32)


def _seeds(between: Doubles, count: int, random: np.random.Generator) -> Numbers:
    """Draw rows far from each other: greedy k-means++ (Arthur and Vassilvitskii, 2007), with 2 + ln k candidates a draw.

    Args:
        between: the squared distances of all rows, ``float64[n, n]``.
        count: how many to draw; fewer are returned where no row lies apart from those drawn.
        random: where the draws come from.
    """
    tries = 2 + int(log(count))
    chosen = [int(random.integers(len(between)))]
    near = between[chosen[0]]
    while len(chosen) < count:
        upto = np.cumsum(near)  # one after the other, so the same everywhere
        if upto[-1] <= 0:
            break
        drawn = np.searchsorted(upto, random.random(tries) * upto[-1], side="right").clip(max=len(near) - 1)
        left = np.minimum(near, between[drawn])
        one = int(np.argmin([fsum(each.tolist()) for each in left]))
        chosen.append(int(drawn[one]))
        near = left[one]
    return np.array(chosen, np.int64)


def _lloyd(rows: Doubles, squares: Doubles, centroids: Doubles) -> tuple[Doubles, float]:
    """Return the centroids where no row changes its cluster any more, and the sum of squared distances to them."""
    before = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        distances = np.square(centroids).sum(axis=1) - 2 * (
            rows @ centroids.T
        )  # and the row's own square, for all alike
        home = distances.argmin(axis=1)
        if np.array_equal(home, before):
            break
        before = home
        there, first = np.unique(np.sort(home), return_index=True)  # a cluster that lost all its rows is gone
        sums = np.add.reduceat(rows[np.argsort(home, kind="stable")], first, axis=0)
        centroids = on_grid(sums / np.diff(first, append=len(rows))[:, None])
        before = np.searchsorted(there, home)
    near = (squares + distances.min(axis=1)).tolist()
    return centroids, fsum(near)
