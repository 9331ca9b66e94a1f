"""A little vocabulary for writing inner loops in LLVM's terms, with vectors, inside functions that numba compiles.

The compiler turns a vector of any length into the registers of the machine at hand. Import it inside functions: it loads numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

FLOAT, DOUBLE, HALF, INT = ir.FloatType(), ir.DoubleType(), ir.HalfType(), ir.IntType(32)


class Code:
    """Writes one inner loop: the arguments of the call, and a little vocabulary over llvmlite's."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self._signature, self.values = signature, values

    def at(self, array: int, start: Any) -> Any:
        """Return a pointer to the element ``start`` of the argument with this number, a flat array."""
        made = self.context.make_array(self._signature.args[array])
        return self.builder.gep(made(self.context, self.builder, self.values[array]).data, [start])

    def number(self, value: int) -> Any:
        """Return an integer of 64 bits."""
        return ir.Constant(ir.IntType(64), value)

    def step(self, pointer: Any, elements: Any) -> Any:
        """Return a pointer that many elements further."""
        return self.builder.gep(pointer, [self.number(elements) if isinstance(elements, int) else elements])

    def load(self, pointer: Any, element: Any, lanes: int, align: int) -> Any:
        """Read a vector; ``align`` is the size of an element in bytes."""
        vector = ir.VectorType(element, lanes)
        return self.builder.load(self.builder.bitcast(pointer, vector.as_pointer()), align=align)

    def load_halves(self, pointer: Any, lanes: int) -> Any:
        """Read a vector of float16 as float32; every processor widens it, but for x86 before 2012."""
        return self.builder.fpext(self.load(pointer, HALF, lanes, 2), ir.VectorType(FLOAT, lanes))

    def store(self, value: Any, pointer: Any, align: int) -> None:
        """Write a vector."""
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()), align=align)

    def variable(self, value: Any) -> Any:
        """Make a variable; it ends up in registers."""
        return cgutils.alloca_once_value(self.builder, value)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once where the processor can and twice where not."""
        kind = a.type
        name = f"llvm.fmuladd.v{kind.count}f{32 if kind.element == FLOAT else 64}"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return self.builder.call(function, [a, b, c])

    def fetch(self, pointer: Any) -> None:
        """Ask for what lies there to be brought into the cache, without waiting for it. The address need not exist."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT, INT, INT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, second_level, data = (ir.Constant(INT, value) for value in (0, 2, 1))
        self.builder.call(function, [self.builder.bitcast(pointer, byte), read, second_level, data])

    def spread(self, scalar: Any, lanes: int) -> Any:
        """Return a vector with the scalar in every lane."""
        empty = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
        one = self.builder.insert_element(empty, scalar, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(INT, lanes), [0] * lanes))


def constant(element: Any, lanes: int, value: float) -> Any:
    """Return a vector with the same number in every lane."""
    return ir.Constant(ir.VectorType(element, lanes), [value] * lanes)
