"""What ColBERTer's vectors take in the store, and what each step of its reduction saves (arXiv 2203.13088, section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irkit.models.colberter import ColBERTer
from irkit.pipeline.context import Context
from irkit.stages.encoding import SHARD
from irkit.stages.multivector.columns import Column
from irkit.stages.multivector.encoded import tokens_recipe
from irkit.store import Artifact, Build, Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.encoding import EncoderOptions
    from irkit.stages.multivector.colberter import Colberter

COUNTING = 1
"""Counts up when words come to be counted otherwise."""


@dataclass(frozen=True)
class Storage:
    """What the vectors of a collection take.

    Attributes:
        documents: how many there are.
        sentence_bytes: of the sentence vectors' files.
        word_bytes: of the word vectors' files.
        kept: word vectors.
        pieces: word pieces, special tokens included: the vectors that there were without any reduction. None where nothing
            says so: the model's own vectors are not in the store, and it is no ColBERTer.
        words: unique whole words of each document, summed up: the vectors before words are dropped. None likewise.
    """

    documents: int
    sentence_bytes: int
    word_bytes: int
    kept: int
    pieces: int | None = None
    words: int | None = None

    def __str__(self) -> str:
        n = max(1, self.documents)
        text = (
            f"a document: {self.sentence_bytes / n:.0f} bytes of its sentence vector and "
            f"{self.word_bytes / n:.0f} of {self.kept / n:.1f} word vectors"
        )
        if not self.pieces or not self.words:
            return text
        return (
            f"{text}; {self.pieces / n:.1f} word pieces are {self.words / n:.1f} whole words "
            f"({1 - self.words / self.pieces:.0%} fewer), of which {1 - self.kept / self.words:.0%} are dropped"
        )


def measure_storage(stage: Colberter, context: Context, encoder: TextEncoder) -> Storage:
    """Read off the store what a stage's vectors take; word pieces and words are counted once.

    Args:
        stage: its options; its vectors are in the store.
        context: the collection and the store.
        encoder: the stage's.
    """
    vectors, *_, wanted = stage.artifacts(context)
    sentences, words = context.store.find(vectors), context.store.find(wanted)
    if sentences is None or words is None:
        raise ValueError("the vectors are not in the store")
    counts = _counts(stage, context, encoder)
    documents, kept = len(context.collection.docs), int(words.meta["tokens"])
    return Storage(documents, sentences.bytes, words.bytes, kept, counts.get("pieces"), counts.get("words"))


def _counts(options: EncoderOptions, context: Context, encoder: TextEncoder) -> Mapping[str, Any]:
    """Return how many word pieces and unique whole words the documents have; nothing where nothing says so."""
    raw = context.store.find(tokens_recipe(options, context))
    each: Iterator[tuple[int, int]]
    if isinstance(encoder, ColBERTer):
        each = _tokenised(context, encoder)
    elif raw is not None and raw.file("words.npy").exists():
        each = _stored(raw)
    else:
        return {}

    def count(_build: Build) -> dict[str, int]:
        pieces, words = np.sum([(0, 0), *each], axis=0).tolist()
        return {"pieces": pieces, "words": words}

    spec = {"counting": COUNTING, **options.documents_spec(context)}
    return context.artifact(Recipe("word-counts", spec), count).meta


def _tokenised(context: Context, encoder: ColBERTer) -> Iterator[tuple[int, int]]:
    """Count by the tokeniser, for the vectors in the store are those of the words that the gates kept."""
    docs = context.collection.docs
    for start in range(0, len(docs), SHARD):
        yield encoder.counts(docs.texts(range(start, min(start + SHARD, len(docs)))))


def _stored(raw: Artifact) -> Iterator[tuple[int, int]]:
    """Count in the store, some documents at a time."""
    offsets = np.load(raw.file("offsets.npy"), allow_pickle=False)
    column = Column(raw.file("words.npy"))
    for first in range(0, len(offsets) - 1, SHARD):
        part = offsets[first : first + SHARD + 1]
        words = column.read(int(part[0]), int(part[-1]))
        doc = np.repeat(np.arange(len(part) - 1), np.diff(part))
        yield len(words), len(np.unique((doc << 32 | words)[words > 0]))
