"""What Anserini leaves to Java, and its results depend on: the order of a hash table, the random numbers of a seed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_WORD = 0xFFFFFFFF
_SEED = (1 << 48) - 1


def place(text: str, entries: int) -> int:
    """Return at which place of a HashMap that grew to so many entries a string is.

    A HashMap is visited place by place, and at one place in the order of insertion. It has 16 places, doubled whenever more than
    3/4 as many entries are in it. The place is ``h ^ h >>> 16``, its last bits, of ``h = String.hashCode()``.
    """
    places = 16
    while entries > places * 3 // 4:
        places *= 2
    value = 0
    units = array("H", text.encode("utf-16-le"))
    for unit in units:
        value = (31 * value + unit) & _WORD
    return (value ^ value >> 16) & (places - 1)


def random_below(seed: int, bound: int) -> Iterator[int]:
    """Yield what ``new java.util.Random(seed).nextInt(bound)`` returns, again and again: 0 .. bound - 1."""
    state = (seed ^ 0x5DEECE66D) & _SEED
    while True:
        state = (state * 0x5DEECE66D + 0xB) & _SEED
        bits = state >> 17
        if bound & -bound == bound:
            yield bound * bits >> 31
        elif bits - bits % bound + bound - 1 < 1 << 31:  # else of the last, incomplete run: drawn again
            yield bits % bound
