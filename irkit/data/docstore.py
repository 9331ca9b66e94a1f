"""The documents of a collection, mapped from disk: ids, titles and texts by code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Strings:
    """An array of strings on disk: UTF-8 bytes back to back, and where each begins. Opened by mapping, read by slice."""

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._data, self._offsets = data, offsets

    @classmethod
    def open(cls, folder: Path, name: str) -> Strings:
        """Map the files ``name.bin`` and ``name.offsets.npy`` of a folder."""
        offsets = np.load(folder / f"{name}.offsets.npy", mmap_mode="r", allow_pickle=False)
        path = folder / f"{name}.bin"
        data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
        return cls(data, offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} is not in 0..{len(self) - 1}")
        return self._data[self._offsets[index] : self._offsets[index + 1]].tobytes().decode("utf-8", "surrogatepass")
