"""Token vectors of a collection's documents: ragged, on disk, made shard by shard, mapped when used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions, encode_documents
from irkit.store import Artifact, Build, Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder

_COPY = 1 << 16
"""Rows that are copied at a time: no step holds the vectors of the collection in memory."""


@dataclass(frozen=True)
class Tokens:
    """Token vectors of N documents.

    Attributes:
        offsets: ``int64[N + 1]``; document ``i`` owns the rows ``offsets[i]:offsets[i + 1]``. A document may
            have none.
        vectors: ``float16[T, dim]``, mapped from disk. There is no padding.
        longest: the greatest Euclidean norm of a row, and at least 1.
    """

    offsets: NDArray[np.int64]
    vectors: NDArray[np.float16]
    longest: float

    @classmethod
    def of(cls, offsets: NDArray[np.int64], vectors: NDArray[np.float16]) -> Tokens:
        """Make them from arrays in memory."""
        return cls(offsets, vectors, max(1.0, _longest(vectors)))

    @classmethod
    def open(cls, artifact: Artifact) -> Tokens:
        """Map the arrays of an artifact."""
        offsets = np.load(artifact.file("offsets.npy"), allow_pickle=False)
        vectors = np.load(artifact.file("tokens.npy"), mmap_mode="r", allow_pickle=False)
        return cls(offsets, vectors, float(artifact.meta["longest"]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each document, ``int64[N]``."""
        return np.diff(self.offsets)


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
