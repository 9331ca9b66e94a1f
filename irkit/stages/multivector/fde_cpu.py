"""The compiled half of MUVERA's encoding on the CPU: from projected tokens to fixed-dimensional encodings.

A matrix product has given every token its coordinates along all hyperplanes and all projections; what is left is bookkeeping at the
speed of memory. Additions run in the order of the tokens, so a document's encoding does not depend on its neighbours.

Filling an empty partition by search costs (tokens x partitions) comparisons. Here the partitions are the corners of a hypercube and
every corner learns from its neighbours, one axis after the other: ``a[c] = min(a[c], a[c with one bit flipped] + 1)``. After all
axes it holds the least Hamming distance to a corner with a token: O(partitions x bits), whatever the number of tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.jit import compiled
from irkit.stages.multivector.fde_lanes import add, copy, divide, half, multiply16

Floats = NDArray[np.float32]

_DISTANCE = 1 << 24
"""Distance and token share one integer, distance * 2^24 + token: the least is the nearest token, the first among equals."""
_NOBODY = 1 << 30
_TOGETHER = 4


@compiled(forceinline=True)
def _partitions(sides: Floats, token: int, bits: int, out: Any) -> None:
    """Write the partition of a token in every repetition to ``out``, ``int32[R]``.

    ``sides`` (``float32[tokens, >= bits * R]``) holds bit j of repetition r in column ``j * R + r``.
    """
    repetitions = len(out)
    for r in range(repetitions):
        out[r] = 0
    for j in range(bits):
        first = j * repetitions
        for r in range(repetitions):
            out[r] |= np.int32(sides[token, first + r] > 0.0) << j


@compiled(forceinline=True)
def _nearest(near: Any, bits: int) -> None:
    """Replace every entry of ``near`` (``int32[2^bits]``) by the least of distance * 2^24 + token over all corners."""
    for j in range(bits):
        half = 1 << j
        for base in range(0, len(near), 2 * half):
            for at in range(base, base + half):
                low, high = near[at], near[at + half]
                near[at] = min(low, high + np.int32(_DISTANCE))
                near[at + half] = min(high, low + np.int32(_DISTANCE))


@compiled()
def encode(
    sides: Floats,
    values: Floats,
    step: int,
    ends: NDArray[np.int64],
    bits: int,
    width: int,
    mean: bool,
    fill: bool,
    out: Floats,
) -> None:
    """Encode consecutive texts.

    Args:
        sides: ``float32[T, >= bits * R]``, the tokens along the hyperplanes, see :func:`_partitions`.
        values: ``float32[T, columns]``, contiguous; repetition r's projection of a token is in the ``width`` columns from
            ``r * step`` on.
        step: ``width``, or 0 where all repetitions read the same columns.
        ends: ``int64[n + 1]``, where in the rows each text starts, and the last ends.
        bits: hyperplanes of a repetition.
        width: coordinates of a partition.
        mean: divide each partition by its number of tokens, as for documents; else sum, as for queries.
        fill: give an empty partition the projection of the nearest token.
        out: ``float32[n, R * 2^bits * width]``, contiguous, overwritten.
    """
    partitions, columns = 1 << bits, values.shape[1]
    repetitions = out.shape[1] // (partitions * width)
    source, to = values.reshape(values.size), out.reshape(out.size)
    near, count = np.empty((repetitions, partitions), np.int32), np.empty((repetitions, partitions), np.int32)
    for text in range(len(ends) - 1):
        first, last = ends[text], ends[text + 1]
        base = text * repetitions * partitions * width
        out[text, :] = 0.0
        if first == last:
            continue
        near[:] = _NOBODY
        count[:] = 0
        codes = np.empty((last - first, repetitions), np.int32)
        for token in range(first, last):
            _partitions(sides, token, bits, codes[token - first])
        for start in range(0, repetitions, _TOGETHER):
            stop = min(start + _TOGETHER, repetitions)
            for token in range(first, last):
                for r in range(start, stop):
                    code = codes[token - first, r]
                    add(to, base + (r * partitions + code) * width, source, token * columns + r * step, width)
                    near[r, code] = min(near[r, code], np.int32(token - first))
                    count[r, code] += 1
        for r in range(repetitions):
            if fill:
                _nearest(near[r], bits)
            for code in range(partitions):
                at = base + (r * partitions + code) * width
                if count[r, code] > 1:
                    if mean:
                        divide(to, at, width, np.float32(count[r, code]))
                elif fill and count[r, code] == 0:
                    token = first + (near[r, code] & (_DISTANCE - 1))
                    copy(to, at, source, token * columns + r * step, width)


@compiled()
def sketch(encodings: Floats, places: NDArray[np.int64], signs: Floats, out: Floats) -> None:
    """Add every coordinate i of ``encodings`` (``float32[n, d]``), times ``signs[i]``, to coordinate ``places[i]`` of ``out``.

    The count sketch of Charikar, Chen and Farach-Colton (2002): dot products are preserved in expectation.
    """
    out[:] = 0.0
    for text in range(len(encodings)):
        for i in range(encodings.shape[1]):
            out[text, places[i]] += signs[i] * encodings[text, i]


@compiled()
def scan(halves: NDArray[np.uint16], query: Floats, begins: Any, ends: Any, out: Floats) -> None:
    """Write the dot product of a query with every row of a float16 matrix, where the query is not zero, to ``out``, ``float32[n]``.

    Sixteen sums grow side by side and are added up at the end, always in the same order: a product depends on its query and row.

    Args:
        halves: ``uint16[n, d]``, contiguous: the bits of finite float16 numbers.
        query: ``float32[d]``.
        begins: ``int64[m]``: where the query's ranges of coordinates that matter begin.
        ends: ``int64[m]``: where they end.
        out: the products.
    """
    sums, flat = np.empty(16, np.float32), halves.reshape(halves.size)
    for row in range(len(halves)):
        origin = row * halves.shape[1]
        sums[:] = 0.0
        for part in range(len(begins)):
            whole = begins[part] + ((ends[part] - begins[part]) & ~15)
            for i in range(begins[part], whole, 16):
                multiply16(sums, 0, flat, origin + i, query, i)
            for i in range(whole, ends[part]):
                sums[i - whole] += half(flat[origin + i]) * query[i]
        total = np.float32(0.0)
        for lane in range(16):
            total += sums[lane]
        out[row] = total
