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

    # torch knows those of its attention on accelerators, and not the one that it takes on the CPU
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={attention: _attention})


def _attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    """Count ``softmax(q k^T) v`` of the shapes [..., S, d], [..., T, d] and [..., T, e]: 2 S T d + 2 S T e, each batch and head."""
    *heads, asked, width = query
    count = 2 * asked * key[-2] * (width + value[-1])
    for size in heads:
        count *= size
    return count
