"""Token vectors of a collection's documents: ragged, on disk, mapped when used. Made by :mod:`irkit.stages.multivector.encoded`
and reduced by :mod:`irkit.stages.multivector.reduce`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from irkit.models.ragged import Ragged, groups
from irkit.stages.multivector.codec import Codec, load_codec
from irkit.stages.multivector.columns import Column
from irkit.stages.multivector.projection import Projection
from irkit.store import Artifact


class Tokens(ABC):
    """Token vectors of N documents, as every late-interaction stage reads them, however they are kept.

    A vector read twice is the same float16 numbers twice, on every machine and device.

    Attributes:
        offsets: ``int64[N + 1]``; document ``i`` owns the rows ``offsets[i]:offsets[i + 1]``. A document may
            have none. There is no padding.
        dim: the number of coordinates.
        longest: the greatest Euclidean norm of a row, and at least 1.
        projection: how the encoder's vectors came into this space; None where they are the encoder's own.
        words: ``uint32[T]``, the whole word of every row (see :class:`irkit.models.ragged.Ragged`); None where nobody knows.
        key: of the artifact, which names the space that the vectors lie in; "" for tokens in memory.
    """

    offsets: NDArray[np.int64]
    dim: int
    longest: float
    projection: Projection | None = None
    words: NDArray[np.uint32] | None = None
    key: str = ""

    @staticmethod
    def of(offsets: NDArray[np.int64], vectors: NDArray[np.float16]) -> Tokens:
        """Make them from arrays in memory."""
        return FloatTokens(offsets, vectors, max(1.0, greatest_norm(vectors)))

    @staticmethod
    def open(artifact: Artifact) -> Tokens:
        """Open an artifact: its columns are mapped, not read."""
        offsets = np.load(artifact.file("offsets.npy"), allow_pickle=False)
        meta = artifact.meta
        codec = load_codec(str(meta.get("codec", "float16")), artifact.file("codec"), int(meta["dim"]))
        columns = [Column(artifact.file(f"{name}.npy")) for name in codec.layout]
        longest = float(meta["longest"])
        opened: Tokens
        if list(codec.layout) == ["tokens"]:
            opened = FloatTokens(offsets, columns[0].mapped, longest, columns[0])
        else:
            opened = CodedTokens(offsets, columns, codec, longest)
        if meta.get("projected"):
            matrix = np.load(artifact.file("projection.npy"), allow_pickle=False)
            opened.projection = Projection(matrix, bool(meta["unit"]))
        words = artifact.file("words.npy")
        opened.words = Column(words).mapped if words.exists() else None
        opened.key = artifact.key
        return opened

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each document, ``int64[N]``."""
        return np.diff(self.offsets)

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return the vectors of some rows, ``float16[*rows.shape, dim]``."""

    @abstractmethod
    def span(self, start: int, stop: int) -> NDArray[np.float16]:
        """Return the vectors of the rows ``start:stop``, ``float16[stop - start, dim]``; without a copy where that is possible."""

    def read(self, start: int, stop: int) -> NDArray[np.float16]:
        """Return the rows ``start:stop`` as ``span`` does, without mapping what is on disk: they are memory of their own, which is
        given back with the array. What walks over many rows reads so.
        """
        return self.span(start, stop)

    def blocks(self, rows: int) -> Iterator[tuple[int, int, NDArray[np.float16]]]:
        """Yield (first document, last document + 1, their vectors) over the whole collection, about so many rows at a time.

        A block holds whole documents, at least one. This is how a build reads: its memory does not grow with
        the collection.
        """
        for first, last in groups(self.offsets, rows):
            yield first, last, self.read(int(self.offsets[first]), int(self.offsets[last]))

    def project(self, queries: Ragged) -> Ragged:
        """Bring the encoder's query vectors into the space of these document vectors."""
        if self.projection is None:
            return queries
        return replace(queries, vectors=self.projection(queries.vectors))


class FloatTokens(Tokens):
    """Token vectors kept as they are.

    Attributes:
        vectors: ``float16[T, dim]``, in memory or mapped from disk.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        vectors: NDArray[np.float16],
        longest: float,
        column: Column | None = None,
    ) -> None:
        self.offsets, self.vectors, self.longest = offsets, vectors, longest
        self.dim = int(vectors.shape[1])
        self._column = column

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return the vectors of some rows."""
        return self.vectors[rows]

    def span(self, start: int, stop: int) -> NDArray[np.float16]:
        """Return a view."""
        return self.vectors[start:stop]

    def read(self, start: int, stop: int) -> NDArray[np.float16]:
        """Read them by a plain read where they are on disk."""
        return self._column.read(start, stop) if self._column else self.span(start, stop)


class CodedTokens(Tokens):
    """Token vectors kept as codes, which are decoded when they are read.

    Attributes:
        codec: how.
        columns: the codes, on disk, in the order of ``codec.layout``.
    """

    def __init__(
        self, offsets: NDArray[np.int64], columns: Sequence[Column], codec: Codec, longest: float
    ) -> None:
        self.offsets, self.columns, self.codec, self.longest = offsets, columns, codec, longest
        self.dim = codec.dim

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Decode some rows."""
        flat = np.asarray(rows).ravel()
        decoded = self.codec.decode(*(column.mapped[flat] for column in self.columns))
        return decoded.reshape(*np.shape(rows), self.dim)

    def span(self, start: int, stop: int) -> NDArray[np.float16]:
        """Decode the rows ``start:stop``."""
        return self.codec.decode(*(column.mapped[start:stop] for column in self.columns))

    def read(self, start: int, stop: int) -> NDArray[np.float16]:
        """Decode the rows ``start:stop`` of codes that are read by a plain read."""
        return self.codec.decode(*(column.read(start, stop) for column in self.columns))


def greatest_norm(vectors: NDArray[np.float16]) -> float:
    """Return the greatest Euclidean norm of the rows, 0 without any."""
    return float(np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1).max(initial=0.0)))
