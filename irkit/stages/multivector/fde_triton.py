"""Fixed dimensional encodings of documents on a CUDA device: one Triton kernel, a program a document and repetition.

Everything stays on the chip: the tokens' partitions, the nearest token of every empty partition, and the sums, which are one
small matrix product M P with M[b, t] = 1 where token t belongs to partition b, or fills it. Hyperplanes and projected tokens are
split into two float16 numbers each, so that the tensor cores compute them in about float32. Imported only where Triton is.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

_TOKENS = 32
"""Document tokens a step."""
_WARPS = 2  # with 32 tokens a step, the fastest on an H200 or within 3 % of it
_FAR = tl.constexpr(1 << 30)


@triton.jit  # type: ignore[untyped-decorator]
def _partition(  # type: ignore[no-untyped-def]
    vectors, high, low, repetition, columns, there,
    dim: tl.constexpr, bits: tl.constexpr, block_t: tl.constexpr, block_k: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Return the partition of each token: bit j says on which side of hyperplane j it lies."""
    j = tl.arange(0, block_k)
    sides = tl.zeros([block_t, block_k], tl.float32)
    for lead in tl.static_range(0, dim, chunk):
        d = lead + tl.arange(0, chunk)
        inside = d < dim
        x = tl.load(
            vectors + columns[:, None] * dim + d[None, :], mask=there[:, None] & inside[None, :], other=0.0
        )
        taken = inside[:, None] & (j < bits)[None, :]
        place = (repetition * dim + d[:, None]) * bits + j[None, :]
        sides = tl.dot(x, tl.load(high + place, mask=taken, other=0.0), sides)
        sides = tl.dot(x, tl.load(low + place, mask=taken, other=0.0), sides)
    return tl.sum(tl.where((sides > 0) & (j < bits)[None, :], 1 << j[None, :], 0), axis=1)


@triton.jit  # type: ignore[untyped-decorator]
def _encode(  # type: ignore[no-untyped-def]
    vectors, offsets, high, low, projection, out, scale, fill,
    dim: tl.constexpr, bits: tl.constexpr, width: tl.constexpr, repetitions: tl.constexpr,
    block_b: tl.constexpr, block_k: tl.constexpr, block_p: tl.constexpr, block_t: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    doc, repetition = program // repetitions, program % repetitions
    first, last = tl.load(offsets + doc), tl.load(offsets + doc + 1)
    partition = tl.arange(0, block_b)
    count = tl.zeros([block_b], tl.int32)
    earliest = tl.full([block_b], _FAR, tl.int32)
    for token in range(first, last, block_t):
        columns = token + tl.arange(0, block_t)
        there = columns < last
        code = _partition(vectors, high, low, repetition, columns, there, dim, bits, block_t, block_k, chunk)
        belongs = (code[None, :] == partition[:, None]) & there[None, :]
        count += tl.sum(belongs.to(tl.int32), axis=1)
        number = (columns - first).to(tl.int32)
        earliest = tl.minimum(earliest, tl.min(tl.where(belongs, number[None, :], _FAR), axis=1))
    differ = partition[None, :] ^ partition[:, None]
    distance = tl.zeros([block_b, block_b], tl.int32)
    for j in tl.static_range(0, bits):
        distance += (differ >> j) & 1
    nearest = tl.min(
        (distance << 24)
        + tl.minimum(earliest, (1 << 24) - 1)[None, :]
        + tl.where(count == 0, _FAR, 0)[None, :],
        axis=1,
    )
    nearest = nearest & ((1 << 24) - 1)
    empty = (count == 0) & (fill != 0)
    p = tl.arange(0, block_p)
    total = tl.zeros([block_b, block_p], tl.float32)
    for token in range(first, last, block_t):
        columns = token + tl.arange(0, block_t)
        there = columns < last
        code = _partition(vectors, high, low, repetition, columns, there, dim, bits, block_t, block_k, chunk)
        projected = tl.zeros([block_t, block_p], tl.float32)
        for lead in tl.static_range(0, dim, chunk):
            d = lead + tl.arange(0, chunk)
            inside = d < dim
            x = tl.load(
                vectors + columns[:, None] * dim + d[None, :],
                mask=there[:, None] & inside[None, :],
                other=0.0,
            )
            taken = inside[:, None] & (p < width)[None, :]
            s = tl.load(
                projection + (repetition * dim + d[:, None]) * width + p[None, :], mask=taken, other=0.0
            )
            projected = tl.dot(x, s, projected)
        belongs = code[None, :] == partition[:, None]
        fills = empty[:, None] & ((columns - first).to(tl.int32)[None, :] == nearest[:, None])
        member = ((belongs | fills) & there[None, :]).to(tl.float16)
        upper = projected.to(tl.float16)
        total = tl.dot(member, upper, total)
        total = tl.dot(member, (projected - upper.to(tl.float32)).to(tl.float16), total)
    total = total * (scale / tl.maximum(count, 1).to(tl.float32))[:, None]
    place = (program * (1 << bits) + partition[:, None]) * width + p[None, :]
    tl.store(out + place, total, mask=(partition < (1 << bits))[:, None] & (p < width)[None, :])


def encode(
    vectors: Any, offsets: Any, hyperplanes: Any, projection: Any, scale: float, fill: bool, out: Any
) -> None:
    """Write the encodings of N documents.

    Args:
        vectors: ``float16[T, dim]`` on the device.
        offsets: ``int64[N + 1]`` on the device; a document has fewer than 2^24 tokens.
        hyperplanes: ``float32[R, dim, k]`` on the device.
        projection: ``float16[R, dim, width]`` on the device: entries that float16 holds exactly (0, 1, -1).
        scale: what the projected tokens are multiplied by.
        fill: whether an empty partition takes the nearest token.
        out: ``float32`` or ``float16[N, R * 2^k * width]`` on the device.
    """
    repetitions, dim, bits = hyperplanes.shape
    documents, width = len(offsets) - 1, projection.shape[2]
    if documents == 0:
        return
    high = hyperplanes.half()
    low = (hyperplanes - high.float()).half()
    _encode[(documents * repetitions,)](
        vectors, offsets, high, low, projection, out, scale, int(fill),
        dim=dim, bits=bits, width=width, repetitions=repetitions, block_b=max(16, 1 << bits), block_k=16,
        block_p=max(16, triton.next_power_of_2(width)), block_t=_TOKENS, chunk=64, num_warps=_WARPS,
    )  # fmt: skip
