"""Token vectors of many texts, without padding."""

from __future__ import annotations

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
    """

    offsets: NDArray[np.int64]
    vectors: NDArray[np.float32]
    words: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> NDArray[np.float32]:
        return self.vectors[self.offsets[text] : self.offsets[text + 1]]
