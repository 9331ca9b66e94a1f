"""The kernels of :mod:`irkit.stages.multivector.maxsim_gpu`. Imported only where Triton is."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

_TOKENS = 64
"""Document tokens a step."""
_CHUNK = 64
"""Dimensions a step."""
_STAGES = 2  # of these four, the fastest of 54 combinations on an H200 for 128 and 384 dimensions, or within 4 % of it
_WARPS = 2


@triton.jit  # type: ignore[untyped-decorator]
def _find(  # type: ignore[no-untyped-def]
    vectors, offsets, high, low, exact, starts, pair_query, pair_doc, out, doubtful, marks, slack,
    dim: tl.constexpr, block_q: tl.constexpr, block_t: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Write the exact sum of the products of the tokens that win for certain, and for which query tokens none does, a bit each."""
    pair = tl.program_id(0).to(tl.int64)
    query = tl.load(pair_query + pair).to(tl.int64)
    doc = tl.load(pair_doc + pair).to(tl.int64)
    first, last = tl.load(offsets + doc), tl.load(offsets + doc + 1)
    start, stop = tl.load(starts + query), tl.load(starts + query + 1)
    total = tl.zeros([block_q], tl.float64)
    for at in range(start, stop, block_q):
        rows = at + tl.arange(0, block_q)
        here = rows < stop
        best = tl.full([block_q], float("-inf"), tl.float32)
        second = tl.full([block_q], float("-inf"), tl.float32)
        where = tl.zeros([block_q], tl.int64)
        for token in range(first, last, block_t):
            columns = token + tl.arange(0, block_t)
            there = columns < last
            products = tl.zeros([block_q, block_t], tl.float32)
            for lead in tl.static_range(0, dim, chunk):
                d = lead + tl.arange(0, chunk)
                inside = d < dim
                x = tl.load(
                    vectors + columns[None, :] * dim + d[:, None],
                    mask=there[None, :] & inside[:, None],
                    other=0.0,
                )
                taken = here[:, None] & inside[None, :]
                place = rows[:, None] * dim + d[None, :]
                products = tl.dot(tl.load(high + place, mask=taken, other=0.0), x, products)
                products = tl.dot(tl.load(low + place, mask=taken, other=0.0), x, products)
            products = tl.where(there[None, :], products, float("-inf"))
            top, arg = tl.max(products, axis=1, return_indices=True)
            others = tl.where(tl.arange(0, block_t)[None, :] == arg[:, None], float("-inf"), products)
            next_top = tl.max(others, axis=1)
            second = tl.maximum(tl.maximum(second, next_top), tl.minimum(best, top))
            where = tl.where(top > best, token + arg, where)
            best = tl.maximum(best, top)
        settled = tl.zeros([block_q], tl.float64)
        real = here & (last > first)
        for lead in tl.static_range(0, dim, chunk):
            d = lead + tl.arange(0, chunk)
            taken = real[:, None] & (d < dim)[None, :]
            x = tl.load(vectors + where[:, None] * dim + d[None, :], mask=taken, other=0.0).to(tl.float64)
            q = tl.load(exact + rows[:, None] * dim + d[None, :], mask=taken, other=0.0)
            settled += tl.sum(q * x, axis=1)
        unsure = real & (second >= best - slack)
        total += tl.where(unsure, 0.0, settled)
        bits = tl.sum(unsure.to(tl.int64) << tl.arange(0, block_q), axis=0)
        tl.store(doubtful + pair * marks + (at - start) // block_q, bits)
    tl.store(out + pair, tl.sum(total, axis=0))


@triton.jit  # type: ignore[untyped-decorator]
def _settle(  # type: ignore[no-untyped-def]
    vectors, offsets, exact, starts, pair_query, pair_doc, out, doubtful, marks,
    dim: tl.constexpr, block_q: tl.constexpr, block_t: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Add what the doubtful query tokens are worth: the greatest of their float64 products with all tokens."""
    pair = tl.program_id(0).to(tl.int64)
    query = tl.load(pair_query + pair).to(tl.int64)
    start, stop = tl.load(starts + query), tl.load(starts + query + 1)
    for at in range(start, stop, block_q):
        bits = tl.load(doubtful + pair * marks + (at - start) // block_q)
        if bits != 0:
            doc = tl.load(pair_doc + pair).to(tl.int64)
            first, last = tl.load(offsets + doc), tl.load(offsets + doc + 1)
            total = tl.load(out + pair)
            for row in range(at, at + block_q):
                if ((bits >> (row - at)) & 1) != 0:
                    best = tl.full([block_t], float("-inf"), tl.float64)
                    for token in range(first, last, block_t):
                        columns = token + tl.arange(0, block_t)
                        there = columns < last
                        products = tl.zeros([block_t], tl.float64)
                        for lead in tl.static_range(0, dim, chunk):
                            d = lead + tl.arange(0, chunk)
                            inside = d < dim
                            place = vectors + columns[:, None] * dim + d[None, :]
                            x = tl.load(place, mask=there[:, None] & inside[None, :], other=0.0)
                            q = tl.load(exact + row * dim + d, mask=inside, other=0.0)
                            products += tl.sum(q[None, :] * x.to(tl.float64), axis=1)
                        best = tl.maximum(best, tl.where(there, products, float("-inf")))
                    total += tl.max(best, axis=0)
            tl.store(out + pair, total)


def launch(
    data: tuple[Any, ...], pairs: tuple[Any, Any], scores: Any, longest_query: int, slack: float
) -> None:
    """Write the exact score of every pair; a program a pair.

    Args:
        data: the documents' vectors and offsets, the queries' high, low and exact parts and starts.
        pairs: ``int32[P]`` each: the numbers of the queries and of the documents.
        scores: ``float64[P]``, where the scores go.
        longest_query: the most tokens of a query.
        slack: see :data:`irkit.stages.multivector.maxsim_gpu._SLACK`.
    """
    if len(scores) == 0 or longest_query == 0:
        scores.zero_()
        return
    vectors, offsets, _, _, exact, starts = data
    dim, grid = vectors.shape[1], (len(scores),)
    block_q = min(64, max(16, triton.next_power_of_2(longest_query)))
    marks = -(-longest_query // block_q)
    doubtful = torch.empty((len(scores), marks), dtype=torch.int64, device=scores.device)
    _find[grid](
        *data, *pairs, scores, doubtful, marks, slack,
        dim=dim, block_q=block_q, block_t=_TOKENS, chunk=_CHUNK, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    _settle[grid](
        vectors, offsets, exact, starts, *pairs, scores, doubtful, marks,
        dim=dim, block_q=block_q, block_t=32, chunk=_CHUNK, num_warps=4,
    )  # fmt: skip
