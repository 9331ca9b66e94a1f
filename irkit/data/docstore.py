"""The documents of a collection, mapped from disk: ids, titles and bodies by code."""

from __future__ import annotations

import hashlib
import mmap
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

    def __init__(self, data: mmap.mmap | bytes, start: NDArray[np.int64], stop: NDArray[np.int64]) -> None:
        self._data, self._start, self._stop = data, start, stop

    def __len__(self) -> int:
        return len(self._start)

    def raw(self, index: int) -> bytes:
        """Return the UTF-8 bytes of one string."""
        return self._data[int(self._start[index]) : int(self._stop[index])]

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} is not in 0..{len(self) - 1}")
        return self.raw(index).decode("utf-8", "surrogatepass")

    def many(self, index: ArrayLike) -> list[str]:
        """Return the strings with these numbers.

        Raises:
            IndexError: for a number outside ``0..len - 1``.
        """
        rows = np.asarray(index, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{rows.min()}..{rows.max()} is not within 0..{len(self) - 1}")
        data, start, stop = self._data, self._start[rows].tolist(), self._stop[rows].tolist()
        return [data[a:b].decode("utf-8", "surrogatepass") for a, b in zip(start, stop, strict=True)]


class DocStore:
    """N documents by code: the position of the docno in the bytewise order of all docnos."""

    def __init__(self, folder: Path) -> None:
        data = folder / "text.bin"
        blob: mmap.mmap | bytes = b""
        if data.stat().st_size:
            with data.open("rb") as file:
                blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # int64[N, 4]: where docno, title and body of each document begin, and where the body ends; rows in the order of codes
        mapped = np.load(folder / "bounds.npy", mmap_mode="r", allow_pickle=False)
        self._bounds = mapped.view(np.ndarray)  # without np.memmap's bookkeeping at every access
        self._blob = blob
        self._docno, self._title, self._body = (
            Strings(blob, self._bounds[:, i], self._bounds[:, i + 1]) for i in range(3)
        )

    def __len__(self) -> int:
        return len(self._docno)

    def docno(self, code: int) -> str:
        """Return the id of a document."""
        return self._docno[code]

    def docnos(self, codes: ArrayLike) -> list[str]:
        """Return the ids of documents."""
        return self._docno.many(codes)

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

    def document(self, code: int) -> Document:
        """Return a document with its parts."""
        return Document(self.docno(code), self.title(code), self.body(code))

    def source_order(self) -> NDArray[np.int64]:
        """Return the codes ``int64[N]`` in the order in which the source gave the documents."""
        return np.argsort(self._bounds[:, 0], kind="stable")

    def content(self) -> str:
        """Return the SHA-256 over all documents by code: the lengths of id, title and body (int64), then their bytes."""
        digest = hashlib.sha256()
        for bounds in self._bounds:
            digest.update(
                np.diff(bounds).astype("<i8").tobytes() + self._blob[int(bounds[0]) : int(bounds[3])]
            )
        return digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for code in range(len(self)):
            yield self.text(code)
