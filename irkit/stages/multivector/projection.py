"""Fewer dimensions: the projection of token vectors to their principal directions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector.grid import normalise, on_grid


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map to the directions in which the vectors are longest, and back to unit length.

    Dot products are what late interaction compares, so the directions are the eigenvectors of the second moment
    E[x x^T], not of the covariance: of all maps of this rank, theirs keeps dot products best (Eckart and Young
    1936). Subtracting the mean first would change every similarity.

    Attributes:
        matrix: ``float32[from, to]``, on the grid, its columns orthonormal but for rounding.
        unit: whether the vectors have length 1; then the projected ones are brought to length 1 too.
    """

    matrix: NDArray[np.float32]
    unit: bool

    def __call__(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``float32[n, to]`` of ``[n, from]``. A row depends on that row alone, to the last bit."""
        projected = on_grid(vectors) @ self.matrix.astype(np.float64)
        return normalise(projected) if self.unit else on_grid(projected).astype(np.float32)

    @classmethod
    def of_moment(cls, moment: NDArray[np.float64], dim: int, unit: bool) -> Projection:
        """Make it from the sum of x x^T over a sample, ``float64[from, from]``.

        The sign of a direction is chosen so that its largest coordinate is positive.
        """
        _, directions = np.linalg.eigh(moment)
        first = directions[:, ::-1][:, :dim]
        largest = first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])]
        return cls(on_grid(first * np.where(largest < 0, -1.0, 1.0)).astype(np.float32), unit)

    def save(self, file: Path) -> None:
        """Write the matrix."""
        np.save(file, self.matrix, allow_pickle=False)
