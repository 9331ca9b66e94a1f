"""Work in stretches that the device's memory holds: as many at a time as a budget takes, and fewer when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from irkit.core.errors import ModelError
from irkit.models.device import is_out_of_memory

R = TypeVar("R")


def fitting(
    sizes: Sequence[int],
    budget: int,
    run: Callable[[int, int], Sequence[R]],
    refuse: Callable[[int], ModelError],
    *,
    share: bool,
    padded: bool = False,
    halved: Callable[[int, int, int], None] | None = None,
) -> Iterator[R]:
    """Yield what ``run(start, stop)`` returns, item by item, for stretches that follow each other and together take in everything.

    A stretch costs no more than the budget, or is one alone. When the device runs out of memory the budget becomes half the cost of
    the stretch that failed, so that the next try is a shorter one.

    Args:
        sizes: tokens of each.
        budget: tokens of a stretch.
        run: does the work from ``start`` to before ``stop``; called again, with a smaller ``stop``, where memory was short.
        refuse: the error when this one alone needs more memory than there is.
        share: whether stretches may be longer than one.
        padded: whether each takes as much as the largest of its stretch.
        halved: told of a smaller budget, and from where to before where the stretch was that failed.

    Raises:
        ModelError: see ``refuse``.
    """
    start = 0
    while start < len(sizes):
        stop, cost = _stretch(sizes, start, budget if share else -1, padded)
        try:
            found = run(start, stop)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise refuse(start) from error
            budget = min(cost // 2, cost - 1)  # less also where all are empty
            if halved is not None:
                halved(budget, start, stop)
            continue
        yield from found
        del found  # it may lie on the device, and the next stretch needs the room
        start = stop


def _stretch(sizes: Sequence[int], start: int, budget: int, padded: bool) -> tuple[int, int]:
    """Return the end and the cost of the longest stretch within the budget."""
    stop, cost, total, widest = start, 0, 0, 0
    while stop < len(sizes):
        total, widest = total + sizes[stop], max(widest, sizes[stop])
        more = widest * (stop + 1 - start) if padded else total
        if stop > start and more > budget:
            break
        stop, cost = stop + 1, more
    return stop, cost
