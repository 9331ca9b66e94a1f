"""What ColBERTer's vectors take in the store, and what each step of its reduction saves (arXiv 2203.13088, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from irkit.pipeline.context import Context

if TYPE_CHECKING:
    from irkit.stages.multivector.colberter import Colberter


@dataclass(frozen=True)
class Merged:
    """What merging the pieces of whole words and dropping words did to a collection.

    Attributes:
        pieces: word pieces: the tokens that there were, without special ones.
        before: different whole words of each document, summed up.
        after: those that were not dropped.
    """

    pieces: int
    before: int
    after: int


@dataclass(frozen=True)
class Storage:
    """What the vectors of a collection take.

    Attributes:
        documents: how many there are.
        sentence_bytes: of the sentence vectors' files.
        word_bytes: of the word vectors' files.
        kept: word vectors.
        merged: None where nothing was merged here: a ColBERTer's vectors are whole words from the start.
    """

    documents: int
    sentence_bytes: int
    word_bytes: int
    kept: int
    merged: Merged | None = None

    def __str__(self) -> str:
        n = max(1, self.documents)
        text = (
            f"a document: {self.sentence_bytes / n:.0f} bytes of its sentence vector and "
            f"{self.word_bytes / n:.0f} of {self.kept / n:.1f} word vectors"
        )
        if self.merged is None or not self.merged.before:
            return text
        pieces, before, after = self.merged.pieces, self.merged.before, self.merged.after
        return (
            f"{text}; {pieces / n:.1f} word pieces are {before / n:.1f} whole words "
            f"({1 - before / pieces:.0%} fewer), of which {1 - after / before:.0%} are dropped"
        )


def measure_storage(stage: Colberter, context: Context) -> Storage:
    """Read off the store what a stage's vectors take.

    Args:
        stage: its options; its vectors are in the store.
        context: the collection and the store.
    """
    vectors, *_, wanted = stage.artifacts(context)
    sentences, words = context.store.find(vectors), context.store.find(wanted)
    if sentences is None or words is None:
        raise ValueError("the vectors are not in the store")
    meta = words.meta
    merged = None
    if "pieces" in meta:
        merged = Merged(meta["pieces"], meta["words_before"], meta["words_after"])
    documents = len(context.collection.docs)
    return Storage(documents, sentences.bytes, words.bytes, int(meta["tokens"]), merged)
