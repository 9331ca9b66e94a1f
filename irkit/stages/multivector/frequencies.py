"""In how many documents of a collection a word stands, by the words that the token store names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.ragged import groups
from irkit.pipeline.context import Context
from irkit.stages.multivector.tokens import Tokens
from irkit.store import Artifact, Build, Recipe

Words = NDArray[np.uint32]

FREQUENCIES = "word-frequencies"
"""The kind of the artifact."""
COUNTING = 1
"""Counts up when the same tokens come to be counted otherwise."""

_BLOCK = 1 << 22
"""Tokens that are counted at a time, some 100 MB."""


@dataclass(frozen=True)
class Frequencies:
    """Document frequencies of words.

    Attributes:
        words: ``uint32[W]``, ascending; 0, no word, is not among them.
        counts: ``int64[W]``, how many documents have the word.
        documents: how many documents there are.
    """

    words: NDArray[np.uint32]
    counts: NDArray[np.int64]
    documents: int

    def idf(self, words: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Return ln((N + 1) / (df + 1)), ``float64[n]``: ColBERT-PRF's inverse document frequency; df is 0 for an unknown word."""
        found = np.zeros(len(words), np.int64)
        if len(self.words):
            place = np.searchsorted(self.words, words).clip(max=len(self.words) - 1)
            found = np.where(self.words[place] == words, self.counts[place], 0)
        idf: NDArray[np.float64] = np.log((self.documents + 1.0) / (found + 1.0))
        return idf


def frequencies_recipe(tokens: Recipe) -> Recipe:
    """Return the recipe of the frequencies of the words of a token store."""
    return Recipe(FREQUENCIES, {"counting": COUNTING, "tokens": tokens.key})


def open_frequencies(context: Context, recipe: Recipe, tokens: Tokens, name: str) -> Frequencies:
    """Open the frequencies, and count them where the store lacks them.

    Args:
        context: with the store.
        recipe: of :func:`frequencies_recipe`.
        tokens: the documents' tokens.
        name: the model's, for the error.

    Raises:
        ModelError: when nobody knows the words of the tokens.
    """
    words = words_of(tokens, name)
    return _opened(context.artifact(recipe, lambda build: _count(build, tokens.offsets, words)))


def words_of(tokens: Tokens, name: str) -> Words:
    """Return the words of the tokens, ``uint32[T]``.

    Raises:
        ModelError: when nobody knows them.
    """
    if tokens.words is None:
        message = "the model's tokeniser does not say which tokens make a word"
        hint = "take a model with a tokeniser of the WordPiece, SentencePiece or byte-level BPE family"
        raise ModelError.of(message, where=name, hint=hint)
    return tokens.words


def _opened(kept: Artifact) -> Frequencies:
    words, counts = (np.load(kept.file(f"{name}.npy"), allow_pickle=False) for name in ("words", "counts"))
    return Frequencies(words, counts, int(kept.meta["documents"]))


def _count(build: Build, offsets: NDArray[np.int64], all_words: Words) -> dict[str, Any]:
    words, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64)
    for some in _words_of_documents(offsets, all_words):
        words, place = np.unique(np.concatenate([words, some]), return_inverse=True)
        added = np.concatenate([counts, np.ones(len(some), np.int64)])
        counts = np.bincount(place, added, len(words)).astype(np.int64)
    np.save(build.path("words.npy"), words, allow_pickle=False)
    np.save(build.path("counts.npy"), counts, allow_pickle=False)
    return {"documents": len(offsets) - 1, "words": len(words)}


def _words_of_documents(offsets: NDArray[np.int64], all_words: Words) -> Iterator[Words]:
    """Yield, for some documents at a time, the different words of each, one after the other."""
    for first, last in groups(offsets, _BLOCK):
        bounds = offsets[first : last + 1]
        words = np.array(all_words[bounds[0] : bounds[-1]], np.uint64)
        doc = np.repeat(np.arange(last - first, dtype=np.uint64), np.diff(bounds))
        pairs = np.unique((doc << np.uint64(32)) | words)
        names = (pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        yield names[names > 0]
