"""Residual codes of token vectors: the nearest centroid, and a few bits a dimension for the difference to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.stages.multivector.columns import Rows
from irkit.stages.multivector.grid import are_unit, grid_float16, on_grid
from irkit.stages.multivector.kmeans import FAR_PROBES, Nearest, kmeans

_BLOCK = 1 << 16
"""Rows that are coded at a time."""
_RESIDUALS = 1 << 17
"""Rows of the sample from which the buckets are learnt."""

Columns: TypeAlias = tuple[NDArray[Any], ...]
Layout: TypeAlias = dict[str, tuple[Any, tuple[int, ...]]]
"""By column: the type of its numbers, and the shape of a row."""


@dataclass(frozen=True, eq=False)
class ResidualCodec:
    """Residual codes (Santhanam et al. 2022, "ColBERTv2", section 3.3; "PLAID", section 3): the nearest centroid, and for every
    dimension the bucket of the difference to it.

    ``decode``: y = centroids[id] + weights[d, bucket] (exact in float32); then y / norm(y) as
    :func:`irkit.stages.multivector.grid.normalise` does it; then the nearest float16. ColBERTv2 has one set of buckets for
    all dimensions; here every dimension has its own, because the variances of PCA's dimensions are far apart, and a bucket
    decodes to the mean of what fell into it, not to a quantile, which is the least squared error.

    Attributes:
        centroids: ``float16[nlist, dim]``, on the grid, of unit length but for rounding.
        cutoffs: ``float32[dim, 2^bits - 1]``, ascending; a difference that equals a cutoff lies in the bucket above it.
        weights: ``float32[dim, 2^bits]``, on the grid: what each bucket stands for.
        bits: 1, 2 or 4.
    """

    centroids: NDArray[np.float16]
    cutoffs: NDArray[np.float32]
    weights: NDArray[np.float32]
    bits: int

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return int(self.centroids.shape[1])

    @property
    def nlist(self) -> int:
        """The number of centroids."""
        return len(self.centroids)

    @property
    def row_bytes(self) -> int:
        """The bytes of a token's packed codes, without the number of its centroid."""
        return -(-self.dim * self.bits // 8)

    @property
    def layout(self) -> Layout:
        """``ids``, the numbers of the centroids, and ``codes``."""
        return {"ids": (self.id_type, ()), "codes": (np.uint8, (self.row_bytes,))}

    @property
    def id_type(self) -> type[np.uint16] | type[np.uint32]:
        """The type that keeps the number of a centroid: two bytes up to 65,536 centroids, else four."""
        return np.uint16 if self.nlist <= 1 << 16 else np.uint32

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.centroids, far_probes=FAR_PROBES)

    def assign(self, vectors: NDArray[Any]) -> NDArray[np.int32]:
        """Return the nearest centroid of every row by dot product, ``int32[n]``; see :class:`Nearest` for what is exact."""
        return self._nearest.assign(vectors)

    def encode(self, vectors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return the centroids' numbers, ``uint16`` or ``uint32[n]``, and the packed codes ``uint8[n, row_bytes]``.

        Args:
            vectors: ``[n, dim]`` of unit length, any float type. A row's code depends on that row alone.
        """
        ids = np.empty(len(vectors), self.id_type)
        codes = np.empty((len(vectors), self.row_bytes), np.uint8)
        for start in range(0, len(vectors), _BLOCK):
            some = on_grid(vectors[start : start + _BLOCK])
            near = self.assign(some)
            ids[start : start + len(some)] = near
            codes[start : start + len(some)] = pack(self._buckets(some, near), self.bits)
        return ids, codes

    def decode(self, *columns: NDArray[Any]) -> NDArray[np.float16]:
        """Return the vectors ``float16[n, dim]`` of centroid numbers ``[n]`` and packed codes ``uint8[n, row_bytes]``."""
        from irkit.stages.multivector.decoding import decode_residual

        ids, codes = columns
        out = np.empty((len(ids), self.dim), np.uint16)
        centroids, table = self._tables
        decode_residual(np.ascontiguousarray(ids), np.ascontiguousarray(codes), centroids, table, out)
        return out.view(np.float16)

    def save(self, folder: Path) -> None:
        """Write ``centroids.npy``, ``cutoffs.npy`` and ``weights.npy`` into a new folder."""
        folder.mkdir(parents=True)
        for name in ("centroids", "cutoffs", "weights"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> ResidualCodec:
        """Read what :meth:`save` wrote."""
        parts = [
            np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in ("centroids", "cutoffs", "weights")
        ]
        return cls(parts[0], parts[1], parts[2], int(parts[2].shape[1]).bit_length() - 1)

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the compiled decoder reads: padded centroids, and what each byte of a code stands for."""
        from irkit.stages.multivector.decoding import lookup_table

        table = lookup_table(self.weights, self.bits)
        padded = np.zeros((self.nlist, self.row_bytes * (8 // self.bits)), np.float32)
        padded[:, : self.dim] = self.centroids
        return padded, table

    def _buckets(self, vectors: NDArray[np.float64], near: NDArray[np.int32]) -> NDArray[np.uint8]:
        residuals = _residuals(vectors, self.centroids[near].astype(np.float32))
        buckets = np.zeros(residuals.shape, np.uint8)
        for cutoff in self.cutoffs.T:
            buckets += residuals >= cutoff
        return buckets


def train_residual(
    sample: Rows, bits: int, nlist: int, seed: int = 0, *, iterations: int = 4
) -> ResidualCodec:
    """Learn centroids by spherical k-means, and the buckets of every dimension from quantiles of the differences.

    Args:
        sample: ``[n, dim]``, any float type, of unit length.
        bits: 1, 2 or 4 a dimension.
        nlist: centroids; no more than rows of the sample are made. :func:`default_nlist` is PLAID's choice.
        seed: of the first centroids.
        iterations: of k-means; 4 in ColBERTv2's code.

    Raises:
        ConfigError: when the vectors are not of unit length: residual codes keep directions only.
    """
    for start in range(0, len(sample), _BLOCK):
        check_unit(sample[start : start + _BLOCK])
    centroids = grid_float16(kmeans(sample, nlist, iterations=iterations, seed=seed))
    chosen = on_grid(sample[:: max(1, len(sample) // _RESIDUALS)])
    near = Nearest(centroids, far_probes=FAR_PROBES).assign(chosen)
    residuals = _residuals(chosen, centroids.astype(np.float32)[near])
    dim, buckets = centroids.shape[1], 1 << bits
    cutoffs = np.zeros((dim, buckets - 1), np.float32)
    weights = np.zeros((dim, buckets), np.float32)
    for d in range(dim if len(residuals) else 0):
        ordered = np.sort(residuals[:, d])
        cutoffs[d] = ordered[(np.arange(1, buckets) * len(ordered)) // buckets]
        bounds = np.concatenate([[0], np.searchsorted(ordered, cutoffs[d]), [len(ordered)]])
        sums = np.concatenate([[0.0], np.cumsum(ordered, dtype=np.float64)])[bounds]
        held = np.diff(bounds)
        edge = np.concatenate(
            [cutoffs[d][:1], cutoffs[d]]
        )  # an empty bucket is never coded into, but for new data
        weights[d] = on_grid(np.where(held > 0, np.diff(sums) / np.maximum(held, 1), edge))
    return ResidualCodec(centroids, cutoffs, weights, bits)


def check_unit(vectors: NDArray[Any], where: str | None = None) -> None:
    """Refuse vectors that residual codes would shorten or lengthen.

    Raises:
        ConfigError: when they are not of unit length.
    """
    if not are_unit(vectors):
        hint = "take tokens.codec: int8 or float16"
        message = "residual codes keep directions, and these token vectors are not of unit length"
        raise ConfigError.of(message, where=where, hint=hint)


def default_nlist(tokens: int) -> int:
    """Return PLAID's number of centroids for so many tokens: 16 sqrt(tokens), down to a power of two, at most 65,536."""
    return min(1 << 16, 1 << max(0, int(np.floor(np.log2(max(1.0, 16.0 * np.sqrt(max(1, tokens))))))))


def pack(buckets: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack ``uint8[n, dim]`` bucket numbers: dimension d in byte d * bits // 8, the first dimension in the lowest bits."""
    each = 8 // bits
    rows, dim = buckets.shape
    padded = np.zeros((rows, -(-dim // each) * each), np.uint8)
    padded[:, :dim] = buckets
    packed = np.zeros((rows, padded.shape[1] // each), np.uint8)
    for place in range(each):
        packed |= padded[:, place::each] << np.uint8(place * bits)
    return packed


def _residuals(vectors: NDArray[np.float64], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract without error: both are on the grid, so float32 holds every difference below 16."""
    difference: NDArray[np.float32] = vectors.astype(np.float32) - centroids
    return difference
