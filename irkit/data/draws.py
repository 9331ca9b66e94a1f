"""Random draws that are the same on every platform and in every version of Python and numpy: SHA-256 in counter mode."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import MutableSequence, Sequence
from typing import TypeVar

T = TypeVar("T")
_RANGE = 1 << 64


class Draws:
    """A stream of uniform draws named by a key."""

    def __init__(self, key: str) -> None:
        self._key, self._block, self._waiting = key.encode(), 0, list[int]()

    def _word(self) -> int:
        if not self._waiting:
            digest = hashlib.sha256(self._key + struct.pack("<Q", self._block)).digest()
            self._waiting = list(struct.unpack("<4Q", digest))
            self._block += 1
        return self._waiting.pop()

    def below(self, n: int) -> int:
        """Draw an integer from 0..n-1, each with equal chance: words beyond the last multiple of ``n`` are drawn again."""
        limit = _RANGE - _RANGE % n
        while True:
            word = self._word()
            if word < limit:
                return word % n

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Bring a list into random order (Fisher and Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Draw ``count`` different items in random order, in O(count): a shuffle that keeps only what it moved.

        Raises:
            ValueError: when there are fewer items.
        """
        if count > len(items):
            raise ValueError(f"cannot draw {count} of {len(items)}")
        moved, drawn = dict[int, int](), []
        for start in range(count):
            at = start + self.below(len(items) - start)
            drawn.append(items[moved.get(at, at)])
            moved[at] = moved.get(start, start)
        return drawn
