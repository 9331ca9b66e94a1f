"""Vector instructions for short rows of float32, inside numba: add, copy, divide, sixteen numbers at a time.

numba's own loops over 8 or 16 numbers spend most of their time on finding out that source and destination do not overlap, once a
row. These say so in the instruction: a row of 16 is one load, one addition and one store (with AVX-512; LLVM splits them for
narrower machines). Nothing is reordered: each coordinate's arithmetic is that of a plain loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from irkit.core.jit import compiled
from irkit.stages.multivector.llvm import FLOAT, HALF, Code


def _two(lanes: int, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """Make ``f(to, at, source, first)``: ``to[at : at + lanes] = combine(to[...], source[first : first + lanes])``."""

    def operation(_typing: Any, to: Any, at: Any, source: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            code = Code(context, builder, signature, values)
            target = code.at(0, values[1])
            given = code.load(code.at(2, values[3]), FLOAT, lanes, 4)
            code.store(combine(code, target, given), target, 4)
            return context.get_dummy_value()

        return types.void(to, types.intp, source, types.intp), generate

    return intrinsic(operation)


def _scaled(lanes: int) -> Any:
    """Make ``f(to, at, by)``: ``to[at : at + lanes] /= by``."""

    def operation(_typing: Any, to: Any, at: Any, by: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            code = Code(context, builder, signature, values)
            target = code.at(0, values[1])
            quotient = builder.fdiv(code.load(target, FLOAT, lanes, 4), code.spread(values[2], lanes))
            code.store(quotient, target, 4)
            return context.get_dummy_value()

        return types.void(to, types.intp, types.float32), generate

    return intrinsic(operation)


def _sum(code: Code, target: Any, given: Any) -> Any:
    return code.builder.fadd(code.load(target, FLOAT, given.type.count, 4), given)


def _given(_code: Code, _target: Any, given: Any) -> Any:
    return given


_add16, _add8, _copy16, _copy8 = _two(16, _sum), _two(8, _sum), _two(16, _given), _two(8, _given)
_divide16, _divide8 = _scaled(16), _scaled(8)


@compiled(forceinline=True)
def add(to: Any, at: int, source: Any, first: int, width: int) -> None:
    """``to[at : at + width] += source[first : first + width]``; flat float32 arrays that do not overlap."""
    for i in range(0, width & ~15, 16):
        _add16(to, at + i, source, first + i)
    i = width & ~15
    if i == width:
        return
    if width & 8:
        _add8(to, at + i, source, first + i)
        i += 8
    while i < width:
        to[at + i] += source[first + i]
        i += 1


@compiled(forceinline=True)
def copy(to: Any, at: int, source: Any, first: int, width: int) -> None:
    """``to[at : at + width] = source[first : first + width]``."""
    for i in range(0, width & ~15, 16):
        _copy16(to, at + i, source, first + i)
    i = width & ~15
    if i == width:
        return
    if width & 8:
        _copy8(to, at + i, source, first + i)
        i += 8
    while i < width:
        to[at + i] = source[first + i]
        i += 1


@compiled(forceinline=True)
def divide(to: Any, at: int, width: int, by: Any) -> None:
    """``to[at : at + width] /= by``, for a float32 ``by``."""
    for i in range(0, width & ~15, 16):
        _divide16(to, at + i, by)
    i = width & ~15
    if i == width:
        return
    if width & 8:
        _divide8(to, at + i, by)
        i += 8
    while i < width:
        to[at + i] /= by
        i += 1


@intrinsic  # type: ignore[untyped-decorator]
def half(_typing: Any, bits: Any) -> Any:
    """Return the number whose float16 bits are given as ``uint16``: numba has no float16 on the CPU, the processor has."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], HALF), FLOAT)

    return types.float32(types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply16(_typing: Any, to: Any, at: Any, halves: Any, begin: Any, source: Any, first: Any) -> Any:
    """``to[at : at + 16] += halves[begin : begin + 16] * source[first : first + 16]``, where ``halves`` are bits of float16."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = Code(context, builder, signature, values)
        target = code.at(0, values[1])
        wide = code.load_halves(code.at(2, values[3]), 16)
        product = builder.fmul(wide, code.load(code.at(4, values[5]), FLOAT, 16, 4))
        code.store(builder.fadd(code.load(target, FLOAT, 16, 4), product), target, 4)
        return context.get_dummy_value()

    return types.void(to, types.intp, halves, types.intp, source, types.intp), generate


@compiled()
def widen(halves: Any, out: Any) -> None:
    """Copy float16 numbers, given as ``uint16[n, dim]``, to ``float32[n, dim]``; numpy converts them one by one."""
    for row in range(halves.shape[0]):
        for i in range(halves.shape[1]):
            out[row, i] = half(halves[row, i])
