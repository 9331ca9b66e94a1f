"""Token vectors of many texts, without padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Token vectors of n texts: text ``i`` owns the rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: ``int64[n + 1]``.
        vectors: ``float32[T, dim]``.
        words: ``uint32[T]``, for every row the whole word that it is a piece of: the first 32 bits, little-endian,
            of the SHA-256 of the lower-cased word in UTF-8; 0 for special tokens. None where nobody asked.
        salience: ``float32[T]``, for every row the attention that its token receives in the model's last layer: the
            mean over the heads and over the text's own tokens of the softmax weight. None where nobody asked.
    """

    offsets: NDArray[np.int64]
    vectors: NDArray[np.float32]
    words: NDArray[np.uint32] | None = None
    salience: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> NDArray[np.float32]:
        return self.vectors[self.offsets[text] : self.offsets[text + 1]]


def groups(offsets: NDArray[np.int64], rows: int, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of consecutive texts that have at most so many rows together, but of at least one text.

    Args:
        offsets: ``int64[n + 1]``.
        rows: the most rows of a group of more than one text.
        most: the most texts of a group.
    """
    first, total = 0, len(offsets) - 1
    while first < total:
        fitting = int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1
        last = min(max(fitting, first + 1), first + (most or total), total)
        yield first, last
        first = last


def check_finite(queries: Ragged) -> None:
    """Refuse query vectors whose products would be no numbers.

    Raises:
        ValueError: when one holds NaN or infinity.
    """
    finite = np.isfinite(queries.vectors)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        number = int(np.searchsorted(queries.offsets, row, side="right")) - 1
        token = row - int(queries.offsets[number])
        raise ValueError(f"query {number} has a vector that is not finite, that of its token {token}")
