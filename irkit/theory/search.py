"""Finding the critical n: the largest number of documents that is still solved, with as few optimisations as may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Critical:
    """Where solving ends.

    Attributes:
        n: the largest number of documents that was solved; None where not even the smallest was.
        capped: whether ``n`` is the largest that was to be tried: then the critical n lies there or beyond.
    """

    n: int | None
    capped: bool = False


def find_critical(
    solved: Callable[[int], bool], guess: int, smallest: int, largest: int, beyond: int = 2
) -> Critical:
    """Search from a guess: steps that double (up while it is solved, down while not), bisection, and a look beyond.

    The first step is a hundredth of the guess, at least 1.

    Optimisation is not monotone: n may fail by bad luck where n+1 succeeds. So the answer is taken only when ``beyond`` sizes in a
    row behind it have failed; one that succeeds begins the search anew there. (The paper's program gallops and bisects in the
    same way, and tries sizes around the answer without taking them for it.)

    Args:
        solved: whether n documents are solved; is asked at most once for each n.
        guess: where to begin.
        smallest: number of documents.
        largest: number of documents.
        beyond: how many failures in a row make an end, 1 or more.
    """
    known: dict[int, bool] = {}

    def ask(n: int) -> bool:
        if n not in known:
            known[n] = solved(n)
        return known[n]

    start: int | None = min(max(guess, smallest), largest)
    low: int | None = None
    while start is not None:
        low, high = _bracket(ask, start, smallest, largest)
        if low is None:
            return Critical(None)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if ask(middle) else (low, middle)
        behind = range(low + 2, min(low + beyond, largest) + 1)
        start = next((n for n in behind if ask(n)), None)
    return Critical(low, low == largest)


def _bracket(ask: Callable[[int], bool], start: int, smallest: int, largest: int) -> tuple[int | None, int]:
    """Return a size that is solved and a larger one that is not; ``largest + 1`` counts as not."""
    step = max(1, start // 100)
    if ask(start):
        low = start
        while low < largest:
            n = min(low + step, largest)
            if not ask(n):
                return low, n
            low, step = n, step * 2
        return low, largest + 1
    high = start
    while high > smallest:
        n = max(high - step, smallest)
        if ask(n):
            return n, high
        high, step = n, step * 2
    return None, high
