"""The compiled half of MaxSim on the CPU: products of token vectors in float32, and the exact ones of the winners in float64.

One block of document tokens at a time, small enough to stay in the cache, is widened from float16 to float32 and multiplied
with the query; the similarities never leave the cache either. A general matrix product would first copy its operands into
the order that suits it, which pays only when many columns follow. Here the operands are in that order from the start, so the
product of a block with 32 columns runs at the speed of the arithmetic units.

Numba has neither float16 nor vectors, so the inner loops are written in LLVM's own terms, which the compiler turns into
the instructions of the machine at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from irkit.core.jit import compiled
from irkit.stages.multivector.llvm import DOUBLE, FLOAT, INT, Code, constant

Array = Any
"""A flat array that numba compiles for. float16 numbers come as ``uint16``, their bits."""

_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
"""What numba compiles for: the machine at hand, unless its environment variables say otherwise."""
_WIDE = "+avx512f" in _FEATURES.split(",")
LANES = 16 if _WIDE else 8
"""float32 numbers that are computed together. Two such vectors, that is two registers (of ARM four), make a panel of columns."""
ROWS = 10 if _WIDE else 6
"""Document tokens of a tile: as many as leave the registers room for the sums of a panel, the panel and one factor."""
PANEL = 2 * LANES
DEPTH = 8
"""Coordinates are padded with zeros to a multiple of it: the float64 sums have as many lanes."""
_CONVERTS = "+f16c" in _FEATURES.split(",") or _TRIPLE.startswith(("aarch64", "arm64"))
"""Whether the processor converts float16: every one does, but for x86 before 2012."""

_loop: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic


# -- the inner loops -----------------------------------------------------------------------------------------


def _make_tile(vectors: int, fetches: bool) -> Callable[..., Any]:
    """Make the product of ROWS document tokens with ``vectors * LANES`` columns of the query.

    With ``fetches``, it also asks for the next ``ROWS * dim`` numbers from ``ahead`` on to be brought into the cache: spread over
    the product, that costs nothing, and memory is read while the arithmetic units work.
    """

    @_loop
    def tile(
        typing: Any, tokens: Any, at: Any, depth: Any, panel: Any, panel_at: Any, dim: Any, out: Any, out_at: Any, stride: Any,
        source: Any, ahead: Any,
    ) -> Any:  # fmt: skip
        """Write the products to the rows of ``out``. Every one is added up in the order of the coordinates."""
        n = types.int64
        signature = types.void(tokens, n, n, panel, n, n, out, n, n, source, n)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            code = Code(context, builder, signature, values)
            _, at, depth, _, panel_at, dim, _, out_at, stride, _, ahead = values
            first, columns, target, coming = (
                code.at(0, at),
                code.at(3, panel_at),
                code.at(6, out_at),
                code.at(9, ahead),
            )
            zero = constant(FLOAT, LANES, 0.0)
            sums = [[code.variable(zero) for _ in range(vectors)] for _ in range(ROWS)]
            rows = [code.step(first, builder.mul(depth, code.number(row))) for row in range(ROWS)]
            with cgutils.for_range(builder, dim) as loop:
                if fetches:
                    code.fetch(code.step(coming, builder.mul(loop.index, code.number(ROWS))))
                line = code.step(columns, builder.mul(loop.index, code.number(vectors * LANES)))
                query = [code.load(code.step(line, v * LANES), FLOAT, LANES, 4) for v in range(vectors)]
                for row, into in zip(rows, sums, strict=True):
                    factor = code.spread(builder.load(code.step(row, loop.index)), LANES)
                    for column, sum_ in zip(query, into, strict=True):
                        builder.store(code.multiply_add(factor, column, builder.load(sum_)), sum_)
            for number, into in enumerate(sums):
                line = code.step(target, builder.mul(stride, code.number(number)))
                for v, sum_ in enumerate(into):
                    code.store(builder.load(sum_), code.step(line, v * LANES), 4)
            return context.get_dummy_value()

        return signature, generate

    return tile


_first_tile, _first_half_tile = _make_tile(2, True), _make_tile(1, True)
_tile, _half_tile = _make_tile(2, False), _make_tile(1, False)


@_loop
def _convert(typing: Any, source: Any, at: Any, out: Any, out_at: Any, vectors: Any) -> Any:
    """Write ``vectors * LANES`` float16 numbers as float32."""
    signature = types.void(source, types.int64, out, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = Code(context, builder, signature, values)
        halves, floats = code.at(0, values[1]), code.at(2, values[3])
        with cgutils.for_range(builder, values[4]) as loop:
            here = builder.mul(loop.index, code.number(LANES))
            code.store(code.load_halves(code.step(halves, here), LANES), code.step(floats, here), 4)
        return context.get_dummy_value()

    return signature, generate


@_loop
def _winners(
    typing: Any, products: Any, at: Any, stride: Any, rows: Any, best: Any, second: Any, row: Any, column: Any
) -> Any:  # fmt: skip
    """Write the greatest product of LANES columns over some rows, at least one, its row, and the second greatest."""
    n = types.int64
    signature = types.void(products, n, n, n, best, second, row, n)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = Code(context, builder, signature, values)
        _, at, stride, rows, _, _, _, column = values
        start = code.at(0, at)
        best = code.variable(code.load(start, FLOAT, LANES, 4))
        second = code.variable(constant(FLOAT, LANES, float("-inf")))
        winner = code.variable(constant(INT, LANES, 0))
        with cgutils.for_range(builder, rows, start=code.number(1)) as loop:
            here = code.load(code.step(start, builder.mul(loop.index, stride)), FLOAT, LANES, 4)
            first_now, second_now = builder.load(best), builder.load(second)
            wins = builder.fcmp_ordered(">", here, first_now)
            other = builder.select(wins, first_now, here)
            builder.store(
                builder.select(builder.fcmp_ordered(">", other, second_now), other, second_now), second
            )
            builder.store(builder.select(wins, here, first_now), best)
            index = code.spread(builder.trunc(loop.index, INT), LANES)
            builder.store(builder.select(wins, index, builder.load(winner)), winner)
        for argument, result in ((4, best), (5, second), (6, winner)):
            code.store(builder.load(result), code.at(argument, column), 4)
        return context.get_dummy_value()

    return signature, generate


@_loop
def _exact(typing: Any, tokens: Any, at: Any, query: Any, query_at: Any, depth: Any) -> Any:
    """Return the product of a float32 and a float64 vector of ``depth`` coordinates, added up in float64 in one fixed order.

    Lane ``i`` adds up the coordinates ``i``, ``i + 8``, ...; then the halves of the lanes are added until one is left. The
    factors have at most 11 and 24 significant bits: a product is exact, so it does not matter whether it is rounded before
    it is added.
    """
    signature = types.float64(tokens, types.int64, query, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = Code(context, builder, signature, values)
        left, right = code.at(0, values[1]), code.at(2, values[3])
        total = code.variable(constant(DOUBLE, DEPTH, 0.0))
        with cgutils.for_range(builder, builder.sdiv(values[4], code.number(DEPTH))) as loop:
            here = builder.mul(loop.index, code.number(DEPTH))
            narrow = code.load(code.step(left, here), FLOAT, DEPTH, 4)
            wide = builder.fpext(narrow, ir.VectorType(DOUBLE, DEPTH))
            factor = code.load(code.step(right, here), DOUBLE, DEPTH, 8)
            builder.store(code.multiply_add(wide, factor, builder.load(total)), total)
        lanes = [builder.extract_element(builder.load(total), ir.Constant(INT, i)) for i in range(DEPTH)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [builder.fadd(a, b) for a, b in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    return signature, generate


@compiled()
def widen_bits(source: Array, bits: Array, floats: Array) -> None:
    """Write float16 numbers (as ``uint16``) as float32, by integer arithmetic; ``bits`` and ``floats`` are the same memory.

    The exponent's bias differs by 112. A multiplication corrects it, and brings subnormal numbers right too; infinities and NaN
    do not occur in token vectors.
    """
    for i in range(len(source)):
        half = np.uint32(source[i])
        bits[i] = ((half & np.uint32(0x8000)) << np.uint32(16)) | (
            (half & np.uint32(0x7FFF)) << np.uint32(13)
        )
    for i in range(len(source)):
        floats[i] *= np.float32(2.0**112)


@compiled()
def _widen(source: Array, at: int, out: Array, bits: Array, out_at: int, count: int) -> None:
    done = 0
    if _CONVERTS:
        done = count // LANES * LANES
        _convert(source, at, out, out_at, count // LANES)
    if done < count:
        widen_bits(
            source[at + done : at + count],
            bits[out_at + done : out_at + count],
            out[out_at + done : out_at + count],
        )


# -- the loops over documents --------------------------------------------------------------------------------


@compiled()
def _fill(
    vectors: Array, dim: int, depth: int, start: int, rows: int, tokens: Array, bits: Array, at: int
) -> None:
    """Widen a document's rows into the block, from its row ``at``."""
    if dim == depth:
        _widen(vectors, start * dim, tokens, bits, at * depth, rows * dim)
    else:
        for row in range(rows):
            _widen(vectors, (start + row) * dim, tokens, bits, (at + row) * depth, dim)


@compiled()
def _multiply(
    tokens: Array, rows: int, depth: int, dim: int, panels: Array, column: int, width: int, out: Array, out_at: int, stride: int,
    source: Array, ahead: Array,
) -> None:  # fmt: skip
    """Multiply a block with the panel that begins with a column, of PANEL columns or, where ``width`` is not more, of LANES.

    Up to ROWS - 1 rows beyond the last are written too. The first panel fetches what tile ``i`` of the next block will need,
    from ``source[ahead[i]]`` on.
    """
    for tile in range((rows + ROWS - 1) // ROWS):
        at, to, panel = tile * ROWS * depth, out_at + tile * ROWS * stride, column * dim
        if width > LANES and column == 0:
            _first_tile(tokens, at, depth, panels, panel, dim, out, to, stride, source, ahead[tile])
        elif width > LANES:
            _tile(tokens, at, depth, panels, panel, dim, out, to, stride, source, 0)
        elif column == 0:
            _first_half_tile(tokens, at, depth, panels, panel, dim, out, to, stride, source, ahead[tile])
        else:
            _half_tile(tokens, at, depth, panels, panel, dim, out, to, stride, source, 0)


@compiled()
def _aim(starts: Array, lengths: Array, document: int, dim: int, ahead: Array) -> None:
    """Write where the rows of the documents from one on lie, ROWS at a time."""
    row = 0
    for tile in range(len(ahead)):
        while document < len(starts) and row >= lengths[document]:
            document, row = document + 1, 0
        ahead[tile] = (starts[document] + row) * dim if document < len(starts) else 0
        row += ROWS


@compiled()
def score_documents(
    vectors: Array,
    dim: int,
    depth: int,
    starts: Array,
    lengths: Array,
    panels: Array,
    slack: Array,
    exact: Array,
    block: int,
    out: Array,
) -> None:
    """Write the exact score of one query, of Tq > 0 tokens, with every document that has tokens: ``float64[n]``.

    Args:
        vectors: ``uint16[T * dim]``, the document vectors as bits.
        dim: coordinates of a vector.
        depth: ``dim``, rounded up to a multiple of DEPTH.
        starts: ``int64[n]``, the first row of each document.
        lengths: ``int64[n]``, their rows.
        panels: ``float32``, the query as :func:`irkit.stages.multivector.maxsim_cpu.panels_of` lays it out.
        slack: ``float32[Tq]``: products closer than that to the greatest may be the greatest.
        exact: ``float64[Tq * depth]``, the query.
        block: rows of a block.
        out: ``float64[n]``.
    """
    count = len(slack)
    columns = (count + LANES - 1) // LANES * LANES
    room = max(block, lengths.max()) + ROWS
    tokens = np.zeros(room * depth, np.float32)
    bits = tokens.view(np.uint32)
    products = np.empty(room * columns, np.float32)
    ahead = np.zeros(room // ROWS + 1, np.int64)
    best, second = np.empty(columns, np.float32), np.empty(columns, np.float32)
    winner = np.empty(columns, np.int32)
    first = 0
    while first < len(starts):
        last, rows = first, 0
        while last < len(starts) and (last == first or rows + lengths[last] <= block):
            _fill(vectors, dim, depth, starts[last], lengths[last], tokens, bits, rows)
            rows += lengths[last]
            last += 1
        _aim(starts, lengths, last, dim, ahead)
        for column in range(0, columns, PANEL):
            _multiply(
                tokens,
                rows,
                depth,
                dim,
                panels,
                column,
                columns - column,
                products,
                column,
                columns,
                vectors,
                ahead,
            )
        at = 0
        for document in range(first, last):
            length = lengths[document]
            if length == 0:
                continue
            for column in range(0, columns, LANES):
                _winners(products, at * columns + column, columns, length, best, second, winner, column)
            total = 0.0
            for token in range(count):
                value = _exact(tokens, (at + winner[token]) * depth, exact, token * depth, depth)
                if second[token] + slack[token] >= best[token]:
                    for row in range(at, at + length):
                        if products[row * columns + token] + slack[token] >= best[token]:
                            value = max(value, _exact(tokens, row * depth, exact, token * depth, depth))
                total += value
            out[document] = total
            at += length
        first = last


@compiled()
def scan_documents(
    vectors: Array, dim: int, depth: int, offsets: Array, panels: Array, owner: Array, block: int, out: Array
) -> None:
    """Add the float32 scores of many queries with consecutive documents that have tokens to ``out``, ``float32[Q, n]``.

    Args:
        vectors: ``uint16[T * dim]``.
        dim: coordinates of a vector.
        depth: ``dim``, rounded up to a multiple of DEPTH.
        offsets: ``int64[n + 1]``.
        panels: the stacked tokens of the queries, laid out in panels.
        owner: ``int64[S]``, the query of each stacked token.
        block: rows of a block.
        out: ``float32[Q, n]``.
    """
    count, total = len(owner), len(offsets) - 1
    longest = 0
    for document in range(total):
        longest = max(longest, offsets[document + 1] - offsets[document])
    room = max(block, longest) + ROWS
    tokens = np.zeros(room * depth, np.float32)
    bits = tokens.view(np.uint32)
    products = np.empty(room * PANEL, np.float32)
    ahead = np.zeros(room // ROWS + 1, np.int64)
    best, second = np.empty(PANEL, np.float32), np.empty(PANEL, np.float32)
    winner = np.empty(PANEL, np.int32)
    first = 0
    while first < total:
        last = first + 1
        while last < total and offsets[last + 1] - offsets[first] <= block:
            last += 1
        rows = offsets[last] - offsets[first]
        _fill(vectors, dim, depth, offsets[first], rows, tokens, bits, 0)
        for tile in range(len(ahead)):
            ahead[tile] = (offsets[last] + tile * ROWS) * dim
        for column in range(0, count, PANEL):
            width = PANEL if count - column > LANES else LANES
            _multiply(tokens, rows, depth, dim, panels, column, width, products, 0, width, vectors, ahead)
            for document in range(first, last):
                length = offsets[document + 1] - offsets[document]
                if length == 0:
                    continue
                at = (offsets[document] - offsets[first]) * width
                for side in range(0, width, LANES):
                    _winners(products, at + side, width, length, best, second, winner, side)
                for token in range(column, min(column + width, count)):
                    out[owner[token], document] += best[token - column]
        first = last
