"""Token vectors of a collection's documents: ragged, on disk, made shard by shard, mapped when used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions, encode_documents
from irkit.store import Artifact, Build, Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder

_COPY = 1 << 16
"""Rows that are copied at a time: no step holds the vectors of the collection in memory."""


class Tokens(ABC):
    """Token vectors of N documents, as every late-interaction stage reads them, however they are kept.

    A vector read twice is the same float16 numbers twice, on every machine and device.

    Attributes:
        offsets: ``int64[N + 1]``; document ``i`` owns the rows ``offsets[i]:offsets[i + 1]``. A document may
            have none. There is no padding.
        dim: the number of coordinates.
        longest: the greatest Euclidean norm of a row, and at least 1.
    """

    offsets: NDArray[np.int64]
    dim: int
    longest: float

    @staticmethod
    def of(offsets: NDArray[np.int64], vectors: NDArray[np.float16]) -> Tokens:
        """Make them from arrays in memory."""
        return FloatTokens(offsets, vectors, max(1.0, _longest(vectors)))

    @staticmethod
    def open(artifact: Artifact) -> Tokens:
        """Map the arrays of an artifact."""
        offsets = np.load(artifact.file("offsets.npy"), allow_pickle=False)
        vectors = np.load(artifact.file("tokens.npy"), mmap_mode="r", allow_pickle=False)
        return FloatTokens(offsets, vectors, float(artifact.meta["longest"]))

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

    def blocks(self, rows: int) -> Iterator[tuple[int, int, NDArray[np.float16]]]:
        """Yield (first document, last document + 1, their vectors) over the whole collection, about so many rows at a time.

        A block holds whole documents, at least one. This is how a build reads: its memory does not grow with
        the collection.
        """
        first, total = 0, len(self)
        while first < total:
            fitting = int(np.searchsorted(self.offsets, self.offsets[first] + rows, side="right")) - 1
            last = min(max(fitting, first + 1), total)
            yield first, last, self.span(int(self.offsets[first]), int(self.offsets[last]))
            first = last

    def project(self, queries: Ragged) -> Ragged:
        """Bring the encoder's query vectors into the space of these document vectors."""
        return queries


class FloatTokens(Tokens):
    """Token vectors kept as they are.

    Attributes:
        vectors: ``float16[T, dim]``, in memory or mapped from disk.
    """

    def __init__(self, offsets: NDArray[np.int64], vectors: NDArray[np.float16], longest: float) -> None:
        self.offsets, self.vectors, self.longest = offsets, vectors, longest
        self.dim = int(vectors.shape[1])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return the vectors of some rows."""
        return self.vectors[rows]

    def span(self, start: int, stop: int) -> NDArray[np.float16]:
        """Return a view."""
        return self.vectors[start:stop]


def tokens_recipe(options: EncoderOptions, context: Context) -> Recipe:
    """Return the recipe of a collection's token vectors: the same for every stage that wants them from this encoder."""
    return Recipe("tokens", options.documents_spec(context))


def build_tokens(build: Build, context: Context, encoder: Encoder) -> dict[str, Any]:
    """Encode the documents of a collection and write ``offsets.npy`` and ``tokens.npy``; return the counts."""

    def write(texts: Any, path: Path) -> None:
        tokens = encoder.tokens(texts, "document")
        path.mkdir()
        np.save(path / "offsets.npy", tokens.offsets, allow_pickle=False)
        np.save(path / "tokens.npy", tokens.vectors.astype(np.float16), allow_pickle=False)

    shards = encode_documents(context, build, "encoding tokens", write)
    parts = [np.load(shard / "offsets.npy", allow_pickle=False) for shard in shards]
    lengths = np.concatenate([np.diff(part) for part in parts] or [np.zeros(0, np.int64)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(build.path("offsets.npy"), offsets, allow_pickle=False)
    shape = (int(offsets[-1]), encoder.dim)
    out = np.lib.format.open_memmap(build.path("tokens.npy"), mode="w+", dtype=np.float16, shape=shape)
    row, longest = 0, 1.0
    for shard in shards:
        part = np.load(shard / "tokens.npy", mmap_mode="r", allow_pickle=False)
        for start in range(0, len(part), _COPY):
            some = part[start : start + _COPY]
            out[row : row + len(some)] = some
            row, longest = row + len(some), max(longest, _longest(some))
    out.flush()
    return {
        "documents": len(lengths),
        "tokens": shape[0],
        "dim": shape[1],
        "longest": longest,
        **context.notes,
    }


def _longest(vectors: NDArray[np.float16]) -> float:
    return float(np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1).max(initial=0.0)))
