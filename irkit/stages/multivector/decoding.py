"""Compiled decoding of token codes. Import it inside functions: it loads numba.

float16 is written as its bits, because numba knows no float16 on the CPU. Sums may be reassociated and fused here: they are
exact (see :mod:`irkit.stages.multivector.grid`), so that changes no bit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array that numba compiles for."""


def lookup_table(weights: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return what each byte of a packed code stands for: ``float32[row_bytes, 256, 8 // bits]``, zero beyond the last dimension."""
    each, (dim, buckets) = 8 // bits, weights.shape
    padded = np.zeros((-(-dim // each) * each, buckets), np.float32)
    padded[:dim] = weights
    places = (np.arange(256)[:, None] >> (np.arange(each) * bits)) & (buckets - 1)
    grouped = padded.reshape(-1, each, buckets)
    return np.ascontiguousarray(grouped[:, np.arange(each), places])


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _write_halves(row: Array, raw: Array, moved: Array, moved_raw: Array, out: Array) -> None:
    """Write the bits of the float16 nearest to every float32 below 65520, ties to even.

    From 2^-14 on, 13 bits of the fraction go. Below, float16 counts multiples of 2^-24, which are the last bits of a float32
    between 0.5 and 1: adding 0.5 rounds to them.
    """
    for d in range(len(row)):
        moved[d] = np.abs(row[d]) + np.float32(0.5)
    for d in range(len(row)):
        size = raw[d] & np.uint32(0x7FFFFFFF)
        normal = (
            size - np.uint32(0x38000000) + np.uint32(0xFFF) + ((size >> np.uint32(13)) & np.uint32(1))
        ) >> np.uint32(13)
        tiny = moved_raw[d] - np.uint32(0x3F000000)
        kept = normal if size >= np.uint32(0x38800000) else tiny
        out[d] = np.uint16(((raw[d] >> np.uint32(16)) & np.uint32(0x8000)) | kept)


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator]
def decode_residual(ids: Array, codes: Array, centroids: Array, table: Array, out: Array) -> None:
    """Write the float16 bits of normalise(centroids[id] + weights[code]) to ``out``, ``uint16[n, dim]``.

    Args:
        ids: unsigned ``[n]``.
        codes: ``uint8[n, row_bytes]``.
        centroids: ``float32[nlist, row_bytes * each]``, zero beyond the last dimension.
        table: of :func:`lookup_table`.
        out: overwritten.
    """
    width, each, dim = codes.shape[1], table.shape[2], out.shape[1]
    row, moved = np.empty(width * each, np.float32), np.empty(dim, np.float32)
    used = row[:dim]
    raw, moved_raw = used.view(np.uint32), moved.view(np.uint32)
    for i in range(len(ids)):
        centroid = centroids[ids[i]]
        if each == 2:
            for j in range(width):
                add = table[j, codes[i, j]]
                row[2 * j], row[2 * j + 1] = add[0], add[1]
        elif each == 4:
            for j in range(width):
                add = table[j, codes[i, j]]
                row[4 * j], row[4 * j + 1], row[4 * j + 2], row[4 * j + 3] = add[0], add[1], add[2], add[3]
        else:
            for j in range(width):
                add = table[j, codes[i, j]]
                for k in range(8):
                    row[8 * j + k] = add[k]
        total = 0.0
        for d in range(width * each):
            value = row[d] + centroid[d]
            row[d] = value
            total += np.float64(value) * np.float64(value)
        inverse = np.float32(1.0 / np.sqrt(total)) if total > 0.0 else np.float32(1.0)
        for d in range(dim):
            used[d] *= inverse
        _write_halves(used, raw, moved, moved_raw, out[i])


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def decode_bytes(codes: Array, scales: Array, out: Array) -> None:
    """Write the float16 bits of float32(code) * scales[d] to ``out``, ``uint16[n, dim]``; codes are ``int8[n, dim]``."""
    dim = codes.shape[1]
    row, moved = np.empty(dim, np.float32), np.empty(dim, np.float32)
    raw, moved_raw = row.view(np.uint32), moved.view(np.uint32)
    for i in range(len(codes)):
        for d in range(dim):
            row[d] = np.float32(codes[i, d]) * scales[d]
        _write_halves(row, raw, moved, moved_raw, out[i])
