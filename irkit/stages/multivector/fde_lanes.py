"""Vector instructions for short rows of float32, inside numba: add, copy, divide, sixteen numbers at a time.

numba's own loops over 8 or 16 numbers spend most of their time on finding out that source and destination do not overlap, once a
row. These say so in the instruction: a row of 16 is one load, one addition and one store (with AVX-512; LLVM splits them for
narrower machines). Nothing is reordered: each coordinate's arithmetic is that of a plain loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SETTINGS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False, "error_model": "numpy"}
"""How this package's kernels are compiled: kept on disk, without the GIL, division as in numpy, no fast-math."""


def _vector(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int) -> Any:
    """Return the address of ``lanes`` numbers that begin at ``array[at]``."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.VectorType(ir.FloatType(), lanes).as_pointer())


def _load(builder: Any, address: Any) -> Any:
    loaded = builder.load(address)
    loaded.align = 4  # rows begin anywhere
    return loaded


def _two(lanes: int, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """Make ``f(to, at, source, first)``: ``to[at : at + lanes] = combine(to[...], source[first : first + lanes])``."""

    def operation(_context: Any, to: Any, at: Any, source: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target = _vector(context, builder, signature.args[0], args[0], args[1], lanes)
            given = _load(builder, _vector(context, builder, signature.args[2], args[2], args[3], lanes))
            builder.store(combine(builder, target, given), target).align = 4
            return context.get_dummy_value()

        return types.void(to, types.intp, source, types.intp), generate

    return intrinsic(operation)


def _scaled(lanes: int) -> Any:
    """Make ``f(to, at, by)``: ``to[at : at + lanes] /= by``."""

    def operation(_context: Any, to: Any, at: Any, by: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.VectorType(ir.FloatType(), lanes)
            target = _vector(context, builder, signature.args[0], args[0], args[1], lanes)
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), args[2], ir.IntType(32)(0))
            mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            all_ = builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)
            builder.store(builder.fdiv(_load(builder, target), all_), target).align = 4
            return context.get_dummy_value()

        return types.void(to, types.intp, types.float32), generate

    return intrinsic(operation)


def _sum(builder: Any, target: Any, given: Any) -> Any:
    return builder.fadd(_load(builder, target), given)


def _given(_builder: Any, _target: Any, given: Any) -> Any:
    return given


_add16, _add8, _copy16, _copy8 = _two(16, _sum), _two(8, _sum), _two(16, _given), _two(8, _given)
_divide16, _divide8 = _scaled(16), _scaled(8)


@numba.njit(**SETTINGS, forceinline=True)  # type: ignore[untyped-decorator]
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


@numba.njit(**SETTINGS, forceinline=True)  # type: ignore[untyped-decorator]
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


@numba.njit(**SETTINGS, forceinline=True)  # type: ignore[untyped-decorator]
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
def half(_context: Any, bits: Any) -> Any:
    """Return the number whose float16 bits are given as ``uint16``: numba has no float16 on the CPU, the processor has."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply16(_context: Any, to: Any, at: Any, halves: Any, begin: Any, source: Any, first: Any) -> Any:
    """``to[at : at + 16] += halves[begin : begin + 16] * source[first : first + 16]``, where ``halves`` are bits of float16."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _vector(context, builder, signature.args[0], args[0], args[1], 16)
        data = context.make_array(signature.args[2])(context, builder, args[2]).data
        kind = ir.VectorType(ir.HalfType(), 16)
        small = builder.load(builder.bitcast(builder.gep(data, [args[3]]), kind.as_pointer()))
        small.align = 2
        wide = builder.fpext(small, ir.VectorType(ir.FloatType(), 16))
        given = _load(builder, _vector(context, builder, signature.args[4], args[4], args[5], 16))
        builder.store(builder.fadd(_load(builder, target), builder.fmul(wide, given)), target).align = 4
        return context.get_dummy_value()

    return types.void(to, types.intp, halves, types.intp, source, types.intp), generate


@numba.njit(**SETTINGS)  # type: ignore[untyped-decorator]
def widen(halves: Any, out: Any) -> None:
    """Copy float16 numbers, given as ``uint16[n, dim]``, to ``float32[n, dim]``; numpy converts them one by one."""
    for row in range(halves.shape[0]):
        for i in range(halves.shape[1]):
            out[row, i] = half(halves[row, i])
