"""What training does to every token besides products and attention, in Triton: one pass over memory each, the backward pass too.

Each program owns its token and adds in one order, so the results are the same in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_BLOCK = 512


@triton.jit  # type: ignore[untyped-decorator]
def _gate(joined_at, out_at, inner, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write silu(gate) * up of ``[T, 2 inner]``."""
    token = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1) * block + tl.arange(0, block)
    there = number < inner
    at, place = token * 2 * inner + number, token * inner + number
    gate = tl.load(joined_at + at, mask=there).to(tl.float32)
    up = tl.load(joined_at + at + inner, mask=there).to(tl.float32)
    tl.store(out_at + place, (gate * tl.sigmoid(gate) * up).to(out_at.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _ungate(joined_at, grad_at, out_at, inner, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the gradients of gate and up, ``[T, 2 inner]``."""
    token = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1) * block + tl.arange(0, block)
    there = number < inner
    at, place = token * 2 * inner + number, token * inner + number
    gate = tl.load(joined_at + at, mask=there).to(tl.float32)
    up = tl.load(joined_at + at + inner, mask=there).to(tl.float32)
    grad = tl.load(grad_at + place, mask=there).to(tl.float32)
    share = tl.sigmoid(gate)
    kind = out_at.dtype.element_ty
    tl.store(out_at + at, (grad * up * share * (1 + gate * (1 - share))).to(kind), mask=there)
    tl.store(out_at + at + inner, (grad * gate * share).to(kind), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _turn(  # type: ignore[no-untyped-def]
    x_at, cos_at, sin_at, out_at, width, pairs, half, back: tl.constexpr, block: tl.constexpr
):
    """Turn the first ``2 pairs`` of a token's ``width`` numbers by its angles, or the gradients back, and copy the rest."""
    token = tl.program_id(0).to(tl.int64)
    number = tl.arange(0, block)
    there = number < pairs
    turn = number % half
    one = token * width + (number // half) * 2 * half + turn
    a = tl.load(x_at + one, mask=there).to(tl.float32)
    b = tl.load(x_at + one + half, mask=there).to(tl.float32)
    angle = token * 2 * half + turn
    cos_a = tl.load(cos_at + angle, mask=there).to(tl.float32)
    cos_b = tl.load(cos_at + angle + half, mask=there).to(tl.float32)
    sin_a = tl.load(sin_at + angle, mask=there).to(tl.float32)
    sin_b = tl.load(sin_at + angle + half, mask=there).to(tl.float32)
    if back:
        new_a = a * cos_a + b * sin_b
        new_b = b * cos_b - a * sin_a
    else:
        new_a = a * cos_a - b * sin_a
        new_b = b * cos_b + a * sin_b
    rest = 2 * pairs + number
    left = rest < width
    copied = tl.load(x_at + token * width + rest, mask=left)
    tl.store(out_at + one, new_a.to(out_at.dtype.element_ty), mask=there)
    tl.store(out_at + one + half, new_b.to(out_at.dtype.element_ty), mask=there)
    tl.store(out_at + token * width + rest, copied, mask=left)


@triton.jit  # type: ignore[untyped-decorator]
def _sum(  # type: ignore[no-untyped-def]
    first_at, second_at, starts_at, places_at, out_at, size, stride, begin, block: tl.constexpr
):
    """Write, for one token, the sums of the rows of ``first`` and ``second`` that it lies in."""
    token = tl.program_id(0).to(tl.int64)
    number = tl.arange(0, block)
    there = number < size
    start = tl.load(starts_at + token)
    stop = tl.load(starts_at + token + 1)
    one = tl.zeros((block,), tl.float32)
    other = tl.zeros((block,), tl.float32)
    for at in range(start, stop):
        row = tl.load(places_at + at).to(tl.int64) * size
        one += tl.load(first_at + row + number, mask=there, other=0).to(tl.float32)
        other += tl.load(second_at + row + number, mask=there, other=0).to(tl.float32)
    out = out_at + token * stride + begin + number
    tl.store(out, one.to(out_at.dtype.element_ty), mask=there)
    tl.store(out + size, other.to(out_at.dtype.element_ty), mask=there)


def gate(joined: Tensor) -> Tensor:
    """Return silu(gate) * up, ``[T, inner]``, of ``[T, 2 inner]``, contiguous."""
    tokens, inner = joined.shape[0], joined.shape[1] // 2
    out = joined.new_empty(tokens, inner)
    _gate[(tokens, triton.cdiv(inner, _BLOCK))](joined, out, inner, block=_BLOCK)
    return out


def ungate(joined: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of ``joined``, given that of the product, contiguous."""
    out, (tokens, inner) = joined.new_empty(joined.shape), grad.shape
    _ungate[(tokens, triton.cdiv(inner, _BLOCK))](joined, grad, out, inner, block=_BLOCK)
    return out


def turn(x: Tensor, cos: Tensor, sin: Tensor, heads: int, out: Tensor, back: bool = False) -> Tensor:
    """Write into ``out`` (``x`` itself, or another) ``[T, N, dim]`` with the first heads turned by ``[T, dim]``; contiguous."""
    tokens, count, dim = x.shape
    pairs = heads * dim // 2
    block = triton.next_power_of_2(max(pairs, (count - heads) * dim))
    _turn[(tokens,)](x, cos, sin, out, count * dim, pairs, dim // 2, back, block)
    return out


def gather_sum(keys: Tensor, values: Tensor, starts: Tensor, places: Tensor, out: Tensor) -> None:
    """Write the sums of each token's gathered gradients into the last heads of ``out``, ``[T, N, dim]``.

    Args:
        keys: ``[G, key heads, dim]``, contiguous; so are ``values``.
        values: likewise.
        starts: ``int32[T + 1]``, where each token's places begin.
        places: ``int32[G]``, the rows of ``keys`` that a token lies in, token by token.
        out: takes keys before values, at the end of its heads.
    """
    tokens, count, dim = out.shape
    size = keys.shape[1] * dim
    begin = count * dim - 2 * size
    _sum[(tokens,)](keys, values, starts, places, out, size, count * dim, begin, triton.next_power_of_2(size))
