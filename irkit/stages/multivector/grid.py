"""Arithmetic without rounding: vectors whose coordinates are multiples of 2^-20, or of 1/4000 where single precision will do.

Floating-point sums depend on the order of their terms, and so on the matrix library, its threads and the size of a batch.
Products of two multiples of 2^-20 are multiples of 2^-40, and float64 adds those without any error while the sum stays
below 2^13: unit vectors are far below. So a dot product, a squared norm or a mean of vectors on this grid is one number,
whoever computes it, and what is made from them (centroids, codes, projections) is the same to the last bit everywhere.
Rounding to the grid moves a coordinate by at most 2^-21, a thousandth of what float16 does to a coordinate near 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 2.0**20
COARSE = 4000.0
_SLACK = 1e-2
"""How far from 1 the norm of a unit vector may be: float16 alone moves it by up to 2^-11."""


def on_grid(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64 copies of the vectors with every coordinate at the nearest multiple of 2^-20."""
    wide: NDArray[np.float64] = np.multiply(vectors, GRID, dtype=np.float64)
    np.rint(wide, out=wide)
    wide *= 1.0 / GRID
    return wide


def on_coarse_grid(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 copies of the vectors in units of 1/4000, rounded to integers.

    A dot product of two such vectors is an integer. Where they are of unit length but for one part in a hundred, all its partial
    sums are below 2^24, and float32 holds every integer up to there: single precision, at twice the speed, is exact too.
    Rounding moves a cosine by some 1e-4.
    """
    wide: NDArray[np.float32] = np.multiply(vectors, COARSE, dtype=np.float32)
    return np.rint(wide, out=wide)


def grid_float16(vectors: NDArray[Any]) -> NDArray[np.float16]:
    """Round to float16 values that are on the grid: those from 2^-9 on all are, smaller ones are rounded once more."""
    near: NDArray[np.float16] = on_grid(np.asarray(vectors).astype(np.float16)).astype(np.float16)
    return near


def normalise(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return the rows divided by their norms, in float32; a row that is zero on the grid stays zero.

    The rows are put on the grid, their squared norms are exact, 1 / norm is rounded to float32 once and multiplied in
    float32: four steps that IEEE 754 defines to the bit.
    """
    wide = on_grid(vectors)
    squares = np.einsum("ij,ij->i", wide, wide)
    inverse = (1.0 / np.sqrt(np.where(squares > 0, squares, 1.0))).astype(np.float32)
    scaled: NDArray[np.float32] = wide.astype(np.float32) * inverse[:, None]
    return scaled


def are_unit(vectors: NDArray[Any]) -> bool:
    """Return whether all rows that are not zero have length 1."""
    squares = np.square(vectors, dtype=np.float64).sum(axis=1)
    return bool(np.all((np.abs(np.sqrt(squares) - 1.0) < _SLACK) | (squares == 0)))
