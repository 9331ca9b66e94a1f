"""The encoder's token vectors of a collection: made shard by shard, kept once, or made again where they are not kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.rankings import offsets_of
from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions, encode_documents
from irkit.stages.multivector.codec import to_float16
from irkit.stages.multivector.columns import Column, concatenate, concatenate_offsets
from irkit.stages.multivector.tokens import greatest_norm
from irkit.store import Artifact, Build, Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder

TOKENS = "tokens"
"""The kind of the artifact of the encoder's own tokens."""

Codes: TypeAlias = Sequence[int] | NDArray[np.int64]
Told = TypeVar("Told", np.uint32, np.float32)


@dataclass(frozen=True)
class TokenBlock:
    """The tokens of some documents, as the encoder gives them.

    Attributes:
        offsets: ``int64[n + 1]``.
        vectors: ``float16[T, dim]``.
        words: ``uint32[T]`` (see :class:`irkit.models.ragged.Ragged`), None where the tokeniser knows no words.
        salience: ``float32[T]``, None where nobody asked.
    """

    offsets: NDArray[np.int64]
    vectors: NDArray[np.float16]
    words: NDArray[np.uint32] | None
    salience: NDArray[np.float32] | None

    @classmethod
    def concat(cls, blocks: Sequence[TokenBlock]) -> TokenBlock:
        """Put blocks, at least one, one after the other."""
        lengths = np.concatenate([np.diff(block.offsets) for block in blocks])
        words = [block.words for block in blocks if block.words is not None]
        salience = [block.salience for block in blocks if block.salience is not None]
        return cls(
            offsets_of(lengths),
            np.concatenate([block.vectors for block in blocks]),
            np.concatenate(words) if words else None,
            np.concatenate(salience) if salience else None,
        )

    def save(self, folder: Path) -> None:
        """Write a file for each array into a new folder."""
        folder.mkdir()
        arrays: dict[str, NDArray[Any] | None] = {
            "offsets": self.offsets,
            "tokens": self.vectors,
            "words": self.words,
            "salience": self.salience,
        }
        for name, array in arrays.items():
            if array is not None:
                np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> TokenBlock:
        """Read what :meth:`save` wrote."""
        arrays = [
            np.load(file, allow_pickle=False) if (file := folder / f"{name}.npy").exists() else None
            for name in ("offsets", "tokens", "words", "salience")
        ]
        return cls(*arrays)  # type: ignore[arg-type]


def known(told: NDArray[Told] | None) -> NDArray[Told]:
    """Return the words or the salience of tokens where a reduction cannot do without.

    Raises:
        ModelError: when the model tells none.
    """
    if told is None:
        hint = "leave out tokens.words and tokens.prune"
        raise ModelError.of("the model's tokeniser does not say which tokens make a word", hint=hint)
    return told


class Source(Protocol):
    """Where the encoder's token vectors come from.

    Attributes:
        costly: whether reading them means making them.
    """

    costly: bool

    def read(self, codes: Codes) -> TokenBlock:
        """Return the tokens of these documents, at least one, whose codes ascend."""
        ...


class Kept:
    """Token vectors in the store."""

    costly = False

    def __init__(self, artifact: Artifact) -> None:
        self._offsets = np.load(artifact.file("offsets.npy"), allow_pickle=False)
        self._columns = [
            Column(file) if (file := artifact.file(f"{name}.npy")).exists() else None
            for name in ("tokens", "words", "salience")
        ]

    def read(self, codes: Codes) -> TokenBlock:
        """Read them; documents that follow each other at once."""
        numbers = np.asarray(codes)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        return TokenBlock.concat([self._run(int(run[0]), int(run[-1]) + 1) for run in runs])

    def _run(self, first: int, last: int) -> TokenBlock:
        offsets = self._offsets[first : last + 1]
        start, stop = int(offsets[0]), int(offsets[-1])
        parts: list[Any] = [
            column if column is None else column.read(start, stop) for column in self._columns
        ]
        return TokenBlock(offsets - start, *parts)


class Encoding:
    """Token vectors that are made when they are asked for."""

    costly = True

    def __init__(self, context: Context, encoder: TextEncoder, *, salience: bool) -> None:
        self._docs, self._encoder, self._salience = context.collection.docs, encoder, salience
        self.words = True
        try:
            encoder.tokens(["word"], "document", words=True)
        except ModelError as error:
            self.words = False
            context.notes["words"] = f"unknown: {error.problems[0].message}"

    def read(self, codes: Codes) -> TokenBlock:
        """Encode them."""
        return self.encode(self._docs.texts(codes))

    def encode(self, texts: Sequence[str]) -> TokenBlock:
        """Encode texts."""
        made = self._encoder.tokens(texts, "document", words=self.words, salience=self._salience)
        halves = to_float16(made.vectors, self._encoder.name)
        return TokenBlock(made.offsets, halves, made.words, made.salience)


def tokens_recipe(options: EncoderOptions, context: Context, *, salience: bool = False) -> Recipe:
    """Return the recipe of a collection's token vectors: the same for every stage that wants them from this encoder.

    Those with the attention that each token receives are another artifact: a model that tells its attention computes
    differently, and its vectors differ in their last bits.
    """
    return Recipe(TOKENS, {**options.documents_spec(context), **({"salience": True} if salience else {})})


def build_tokens(
    build: Build, context: Context, encoder: TextEncoder, *, salience: bool = False
) -> dict[str, Any]:
    """Encode the documents of a collection; return the counts.

    Writes ``offsets.npy``, ``tokens.npy`` (float16), ``words.npy`` (uint32) unless the tokeniser knows no words, which the
    meta says then, and ``salience.npy`` (float32) where it is asked for. Memory: the texts and vectors of one shard.
    """
    source = Encoding(context, encoder, salience=salience)

    def write(texts: Sequence[str], path: Path) -> None:
        block = source.encode(texts)
        block.save(path)
        np.save(path / "longest.npy", greatest_norm(block.vectors), allow_pickle=False)

    shards = encode_documents(context, build, "encoding tokens", write)
    offsets = concatenate_offsets([shard / "offsets.npy" for shard in shards], build.path("offsets.npy"))
    columns: dict[str, tuple[Any, tuple[int, ...]]] = {"tokens": (np.float16, (encoder.token_dim,))}
    if source.words:
        columns["words"] = (np.uint32, ())
    if salience:
        columns["salience"] = (np.float32, ())
    for name, (dtype, row) in columns.items():
        concatenate([shard / f"{name}.npy" for shard in shards], build.path(f"{name}.npy"), dtype, row)
    longest = [float(np.load(shard / "longest.npy", allow_pickle=False)) for shard in shards]
    return {
        **context.notes,
        "documents": len(offsets) - 1,
        "tokens": int(offsets[-1]),
        "dim": encoder.token_dim,
        "longest": max([1.0, *longest]),
    }
