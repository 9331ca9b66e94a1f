"""Spherical k-means for tens of thousands of centroids on a CPU, the same to the last bit on every machine.

Centroids and vectors are put on the grids of :mod:`irkit.stages.multivector.grid`, so that similarities are exact in float32 and
means in float64: neither blocks nor threads nor the matrix library can move an assignment, and ties go to the lower number.
Assigning is what k-means costs: n tokens against 32,768 centroids of 128 dimensions are 8 million operations a token. From
some thousand centroids on, a token is compared only with the centroids of the cells nearest to it, and with those of more cells
where it is far from all it was compared with: those are the tokens whose nearest centroid lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector.columns import Rows
from irkit.stages.multivector.grid import COARSE, grid_float16, normalise, on_coarse_grid, on_grid

_EXACT = 1 << 11
"""Up to so many centroids every one is looked at."""
_PROBES = 8
"""Cells of centroids that a vector is compared with."""
_FAR = 0.8
"""A vector whose cosine with the best centroid so far is less is compared with more cells, once centroids no longer move."""
FAR_PROBES = 32
"""So many. Of MiniLM's tokens and 39,191 centroids in 256 cells, 8 cells miss the nearest of 1.6 % and lose up to 0.50 of cosine;
32 cells for the 13 % that are far miss 0.4 % and lose at most 0.30, in half the time of 32 cells for all, which miss 0.2 %.
"""
_BLOCK = 1 << 15
"""Rows at a time."""
_PER_CENTROID = 40
"""Rows of the sample that k-means uses for each centroid: faiss warns below 39, and more change little."""


class Nearest:
    """Finds the nearest of many centroids by dot product.

    Up to 2048 centroids the answer is exact for vectors rounded to 1/4000. Above, centroids are grouped into about sqrt(nlist)
    cells, and only the cells whose centres are nearest to a vector are searched: the answer is then approximate, but still a
    function of that vector and the centroids alone.
    """

    def __init__(
        self, centroids: NDArray[Any], probes: int = _PROBES, far_probes: int = 0, exact: int = _EXACT
    ) -> None:
        """Group the centroids.

        Args:
            centroids: ``[nlist, dim]``, of unit length but for rounding.
            probes: cells that a vector is compared with.
            far_probes: cells that a vector is compared with whose cosine with the best so far is below 0.8; 0: no more.
            exact: up to so many centroids there are no cells.
        """
        self._centroids = on_coarse_grid(centroids)
        self._probes, self._far_probes = probes, far_probes
        self._cells: list[NDArray[np.int64]] = []
        if len(centroids) > exact:
            count = 1 << round(np.log2(len(centroids)) / 2)
            centres = kmeans(centroids, count, iterations=8, exact=count)
            self._centres = on_coarse_grid(centres)
            home = Nearest(centres, exact=count).assign(centroids)
            self._cells = [np.flatnonzero(home == cell) for cell in range(len(centres))]
            self._parts = [self._centroids[members] for members in self._cells]

    def assign(self, vectors: NDArray[Any]) -> NDArray[np.int32]:
        """Return the number of the nearest centroid of every row, ``int32[n]``; the lower of two that are equally near.

        Args:
            vectors: ``[n, dim]``, of unit length but for rounding, or zero.
        """
        return self.assign_scored(vectors)[0]

    def assign_scored(self, vectors: Rows) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest centroids, ``int32[n]``, and the cosines with them, ``float64[n]``."""
        ids, scores = np.empty(len(vectors), np.int32), np.empty(len(vectors))
        for start in range(0, len(vectors), _BLOCK):
            here = slice(start, start + _BLOCK)
            block = on_coarse_grid(vectors[here])
            near, products = self._look(block, self._probes)
            far = np.flatnonzero(products < _FAR * COARSE**2)
            if self._cells and self._far_probes > self._probes and len(far):
                near[far], products[far] = self._look(block[far], self._far_probes)
            ids[here], scores[here] = near, products / COARSE**2
        return ids, scores

    def _look(self, block: NDArray[np.float32], probes: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest centroids of a block's rows among those of the nearest cells, and their products."""
        ids, products = np.zeros(len(block), np.int32), np.full(len(block), -np.inf)
        for rows, centroids, numbers in self._candidates(block, probes):
            similar = block[rows] @ centroids.T
            best = similar.argmax(axis=1)
            product, found = similar[np.arange(len(best)), best], numbers[best]
            better = (product > products[rows]) | ((product == products[rows]) & (found < ids[rows]))
            products[rows] = np.where(better, product, products[rows])
            ids[rows] = np.where(better, found, ids[rows])
        return ids, products

    def _candidates(self, block: NDArray[np.float32], probes: int) -> Iterator[tuple[Any, Any, Any]]:
        """Yield rows of the block, the centroids that they are compared with, and the numbers of those."""
        if not self._cells:
            numbers = np.arange(len(self._centroids))
            for start in range(0, len(block), 1 << 12):
                yield slice(start, start + (1 << 12)), self._centroids, numbers
            return
        cells, found = np.nonzero(greatest(block @ self._centres.T, probes).T)
        bounds = np.searchsorted(cells, np.arange(len(self._cells) + 1))
        for cell, (centroids, members) in enumerate(zip(self._parts, self._cells, strict=True)):
            rows = found[bounds[cell] : bounds[cell + 1]]
            if len(rows) and len(members):
                yield rows, centroids, members


def greatest(values: NDArray[np.floating[Any]], count: int) -> NDArray[np.bool_]:
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
