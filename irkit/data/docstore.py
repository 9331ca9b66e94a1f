"""The documents of a collection, mapped from disk: ids, titles and bodies by code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Document(NamedTuple):
    """A document as its source gives it."""

    docno: str
    title: str
    body: str


class Strings:
    """An array of strings on disk: UTF-8 bytes back to back, and where each begins and ends. Mapped; read by index."""

    def __init__(self, data: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]) -> None:
        self._data, self._start, self._stop = data, start, stop

    def __len__(self) -> int:
        return len(self._start)

    def raw(self, index: int) -> bytes:
        """Return the UTF-8 bytes of one string."""
        return self._data[self._start[index] : self._stop[index]].tobytes()

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} is not in 0..{len(self) - 1}")
        return self.raw(index).decode("utf-8", "surrogatepass")


class DocStore:
    """N documents by code: the position of the docno in the bytewise order of all docnos."""

    def __init__(self, folder: Path) -> None:
        data = folder / "text.bin"
        blob = np.memmap(data, dtype=np.uint8, mode="r") if data.stat().st_size else np.zeros(0, np.uint8)
        # int64[N, 4]: where docno, title and body of each document begin, and where the body ends; rows in the order of codes
        bounds = np.load(folder / "bounds.npy", mmap_mode="r", allow_pickle=False)
        self._docno, self._title, self._body = (Strings(blob, bounds[:, i], bounds[:, i + 1]) for i in range(3))

    def __len__(self) -> int:
        return len(self._docno)

    def docno(self, code: int) -> str:
        """Return the id of a document."""
        return self._docno[code]

    def docnos(self, codes: ArrayLike) -> list[str]:
        """Return the ids of documents."""
        return [self._docno[code] for code in np.asarray(codes).tolist()]

    def code(self, docno: str) -> int | None:
        """Return the code of a document id, None when the collection has no such document."""
        wanted = docno.encode("utf-8", "surrogatepass")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._docno.raw(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._docno.raw(low) == wanted else None

    def title(self, code: int) -> str:
        """Return the title, "" when there is none."""
        return self._title[code]

    def body(self, code: int) -> str:
        """Return the text without the title."""
        return self._body[code]

    def text(self, code: int) -> str:
        """Return "title body": what a retriever indexes (BEIR's and ir-datasets' default text)."""
        title, body = self.title(code), self.body(code)
        return f"{title} {body}" if title and body else title or body

    def texts(self, codes: ArrayLike) -> list[str]:
        """Return "title body" of documents."""
        return [self.text(code) for code in np.asarray(codes).tolist()]

    def __iter__(self) -> Iterator[str]:
        for code in range(len(self)):
            yield self.text(code)
