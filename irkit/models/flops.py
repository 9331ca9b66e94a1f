"""Floating-point operations, counted by torch, in every thread that works on what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

_Made = TypeVar("_Made")


class Flops:
    """A count: two for each multiplication and addition of matrix products, convolutions and torch's own attention.

    What kernels of others do (numba, Triton, faiss, Lucene), torch does not see.
    """

    def __init__(self) -> None:
        self.total = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """Add to the count."""
        with self._lock:
            self.total += count


_counting: ContextVar[Flops | None] = ContextVar("counting", default=None)


@contextmanager
def counting() -> Iterator[Flops]:
    """Count what this thread does inside the block, and what it has others do through :func:`counted`."""
    flops = Flops()
    token = _counting.set(flops)
    try:
        with _counter() as counter:
            yield flops
        flops.add(counter.get_total_flops())
    finally:
        _counting.reset(token)


def counted(work: Callable[[], _Made]) -> Callable[[], _Made]:
    """Return work for another thread, whose operations count where they are counted here: torch counts by thread."""
    flops = _counting.get()
    if flops is None:
        return work

    def counted_work() -> _Made:
        with _counter() as counter:
            made = work()
        flops.add(counter.get_total_flops())
        return made

    return counted_work


def _counter() -> Any:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # torch counts neither the attention that it takes on the CPU, nor flash attention over fewer heads of keys than of queries
    aten = torch.ops.aten
    own = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._flash_attention_forward: _packed_attention,
    }
    return FlopCounterMode(display=False, custom_mapping=own)


def _attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Count ``softmax(q k^T) v`` of the shapes [..., S, d], [..., T, d] and [..., T, e]: 2 S T d + 2 S T e, each batch and head."""
    *heads, asked, width = query
    count = 2 * asked * key[-2] * (width + value[-1])
    for size in heads:
        count *= size
    return count


def _packed_attention(
    query: Any, key: Any, value: Any, row_bounds: Any, seen_bounds: Any, *_: Any, **__: Any
) -> int:
    """Count the same of flash attention: [B, S, heads, d] and [B, T, groups, d], or of segments that lie one behind the other,
    [S, heads, d] and [T, groups, d], with the bounds of their rows and of what they see.
    """
    width = query.shape[-1] + value.shape[-1]
    if row_bounds is None:
        batch, asked, heads, _ = query.shape
        return int(2 * batch * heads * asked * key.shape[1] * width)
    pairs = int((row_bounds.long().diff() * seen_bounds.long().diff()).sum())
    return int(2 * query.shape[1] * pairs * width)


_packed_attention._get_raw = True  # type: ignore[attr-defined]  # what torch asks for to give tensors, and not their shapes
