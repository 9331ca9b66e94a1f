"""silu(gate) * up in one pass over memory, in Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_BLOCK = 4096


@triton.jit  # type: ignore[untyped-decorator]
def _silu_times(gate_at, up_at, size, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Overwrite a block of ``gate``."""
    places = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    there = places < size
    gate = tl.load(gate_at + places, mask=there).to(tl.float32)
    up = tl.load(up_at + places, mask=there).to(tl.float32)
    tl.store(gate_at + places, (gate * tl.sigmoid(gate) * up).to(gate_at.dtype.element_ty), mask=there)


def silu_times(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up, written over ``gate``; both of one shape and type, contiguous, on CUDA."""
    size = gate.numel()
    _silu_times[(triton.cdiv(size, _BLOCK),)](gate, up, size, block=_BLOCK, num_warps=8)
    return gate
