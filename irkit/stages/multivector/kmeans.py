"""Spherical k-means for tens of thousands of centroids on a CPU, the same to the last bit on every machine.

Centroids and vectors are put on the grid of :mod:`irkit.stages.multivector.grid`, so that similarities and means are exact in
float64: neither blocks nor threads nor the matrix library can move an assignment, and ties go to the lower number.
Assigning is what k-means costs: n tokens against 32,768 centroids of 128 dimensions are 8 million operations a token. From
some thousand centroids on, a token is compared only with the centroids of the cells nearest to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector.columns import Rows
from irkit.stages.multivector.grid import grid_float16, normalise, on_grid

_EXACT = 1 << 11
"""Up to so many centroids every one is looked at."""
_PROBES = 8
"""Cells of centroids that a vector is compared with while centroids still move."""
FINAL_PROBES = 32
"""The same for what is kept. Of MiniLM's tokens and 16,384 centroids, 8 cells of 128 miss the nearest of 6 % and lose up to 0.45 of
cosine; 32 miss that of 1 % and lose at most 0.22, at a seventh of the work of looking at all.
"""
_BLOCK = 1 << 15
"""Rows at a time."""
_PER_CENTROID = 40
"""Rows of the sample that k-means uses for each centroid: faiss warns below 39, and more change little."""


class Nearest:
    """Finds the nearest of many centroids by dot product.

    Up to 2048 centroids the answer is exact. Above, centroids are grouped into about sqrt(nlist) cells, and only the cells
    whose centres are nearest to a vector are searched: the answer is then approximate, but still a function of that
    vector and the centroids alone.
    """

    def __init__(self, centroids: NDArray[Any], probes: int = _PROBES, exact: int = _EXACT) -> None:
        """Group the centroids.

        Args:
            centroids: ``[nlist, dim]``.
            probes: cells that a vector is compared with.
            exact: up to so many centroids there are no cells.
        """
        self._centroids = on_grid(centroids)
        self._probes = probes
        self._cells: list[NDArray[np.int64]] = []
        if len(centroids) > exact:
            count = 1 << round(np.log2(len(centroids)) / 2)
            self._centres = on_grid(kmeans(self._centroids, count, iterations=8, exact=count))
            home = Nearest(self._centres, exact=count).assign(self._centroids)
            self._cells = [np.flatnonzero(home == cell) for cell in range(len(self._centres))]

    def assign(self, vectors: NDArray[Any]) -> NDArray[np.int32]:
        """Return the number of the nearest centroid of every row, ``int32[n]``; the lower of two that are equally near."""
        return self.assign_scored(vectors)[0]

    def assign_scored(self, vectors: Rows) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest centroids, ``int32[n]``, and the dot products with them, ``float64[n]``."""
        ids, scores = np.zeros(len(vectors), np.int32), np.full(len(vectors), -np.inf)
        for start in range(0, len(vectors), _BLOCK):
            block = on_grid(vectors[start : start + _BLOCK])
            part = slice(start, start + len(block))
            for rows, members in self._candidates(block):
                similar = block[rows] @ self._centroids[members].T
                best = similar.argmax(axis=1)
                score, found = (
                    similar[np.arange(len(best)), best],
                    np.arange(len(self._centroids))[members][best],
                )
                here_ids, here = ids[part][rows], scores[part][rows]
                better = (score > here) | ((score == here) & (found < here_ids))
                scores[part][rows] = np.where(better, score, here)
                ids[part][rows] = np.where(better, found, here_ids)
        return ids, scores

    def _candidates(self, block: NDArray[np.float64]) -> Iterator[tuple[Any, Any]]:
        """Yield rows of the block and the centroids that they are compared with."""
        if not self._cells:
            for start in range(0, len(block), 1 << 12):
                yield slice(start, start + (1 << 12)), slice(None)
            return
        cells, found = np.nonzero(greatest(block @ self._centres.T, self._probes).T)
        bounds = np.searchsorted(cells, np.arange(len(self._cells) + 1))
        for cell, members in enumerate(self._cells):
            rows = found[bounds[cell] : bounds[cell + 1]]
            if len(rows) and len(members):
                yield rows, members


def greatest(values: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Mark the ``count`` greatest of every row, ``bool[n, m]``; of those that tie for the last place, the first ones."""
    if count >= values.shape[1]:
        return np.ones(values.shape, np.bool_)
    # argpartition would leave the choice to the sort of the machine at hand; the value in the last place is one for all
    last = np.partition(values, -count, axis=1)[:, [-count]]
    marked: NDArray[np.bool_] = values >= last
    tied = np.flatnonzero(np.count_nonzero(marked, axis=1) > count)
    above, ties = values[tied] > last[tied], values[tied] == last[tied]
    room = count - np.count_nonzero(above, axis=1)
    marked[tied] = above | (ties & (np.cumsum(ties, axis=1) <= room[:, None]))
    return marked


def kmeans(
    sample: Rows, nlist: int, *, iterations: int = 4, seed: int = 0, exact: int = _EXACT
) -> NDArray[np.float32]:
    """Return centroids of unit length, ``float32[min(nlist, n), dim]``.

    Args:
        sample: ``[n, dim]``, any float type; evenly spaced rows are taken where there are more than 40 for each centroid.
        nlist: how many centroids.
        iterations: of Lloyd's algorithm, each a step of assigning and one of averaging.
        seed: of the choice of the first centroids among the rows.
        exact: up to so many centroids every one is looked at.

    An empty cluster starts again at the row that is farthest from its own centroid.
    """
    count = min(nlist, len(sample))
    if count == 0:
        return np.zeros((0, sample.shape[1]), np.float32)
    wanted = min(len(sample), _PER_CENTROID * count)
    if wanted < len(sample):
        sample = sample[np.arange(wanted) * len(sample) // wanted]
    first = np.random.Generator(np.random.PCG64(seed)).choice(len(sample), count, replace=False)
    centroids = normalise(sample[np.sort(first)])
    for _ in range(iterations):
        near, scores = Nearest(grid_float16(centroids), exact=exact).assign_scored(sample)
        centroids = _means(sample, near, scores, centroids)
    return centroids


def _means(
    sample: Rows, near: NDArray[np.int32], scores: NDArray[np.float64], before: NDArray[np.float32]
) -> NDArray[np.float32]:
    sums = np.zeros(before.shape, np.float64)
    for start in range(0, len(sample), _BLOCK):
        block, here = on_grid(sample[start : start + _BLOCK]), near[start : start + _BLOCK]
        order = np.argsort(here, kind="stable")
        there, first = np.unique(here[order], return_index=True)
        sums[there] += np.add.reduceat(block[order], first, axis=0)
    counts = np.bincount(near, minlength=len(before))
    norms = np.sqrt(np.square(sums).sum(axis=1))
    empty = np.flatnonzero(counts == 0)
    lost = np.flatnonzero((counts > 0) & (norms == 0))  # members that cancel out: the old centroid stays
    far = np.argsort(scores, kind="stable")[: len(empty)]
    sums /= np.maximum(norms, 1e-300)[:, None]
    sums[empty[: len(far)]] = sample[far]
    sums[lost] = before[lost]
    return normalise(sums)
