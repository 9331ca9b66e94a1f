"""What a reranker saw in a document: the text that it read, piece by piece, and how much it looked at each piece."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from irkit.core.rankings import CodeArray, ScoreArray

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one document came to its score for one query.

    Attributes:
        doc: the code of the document.
        score: the document's score before it was brought to the run's scale, which the weights add up to.
        pieces: the tokens' texts; put together they are what the model read of the document.
        weights: what each piece contributes to the score; 0 for those that the method leaves out.
        before: the document's rank before the stage, from 1; None where nothing says so. Stages leave it to :meth:`after`.
    """

    doc: int
    score: float
    pieces: tuple[str, ...]
    weights: tuple[float, ...]
    before: int | None = None

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.weights):
            raise ValueError(f"{len(self.pieces)} pieces and {len(self.weights)} weights")

    def after(self, ranking: CodeArray) -> Self:
        """Return the same with the document's rank in ``ranking``, ``int32[n]``: what the stage was given, best first."""
        places = np.flatnonzero(ranking == self.doc)
        return replace(self, before=int(places[0]) + 1 if len(places) else None)

    def words(self) -> list[tuple[str, float]]:
        """Return the words of the text with the weights of their pieces added up.

        A piece that reaches over several words counts for the first of them, one of white space alone for none.
        """
        text = "".join(self.pieces)
        words = list(_WORD.finditer(text))
        sums, place, at = [0.0] * len(words), 0, 0
        for piece, weight in zip(self.pieces, self.weights, strict=True):
            start = at + len(piece) - len(piece.lstrip())
            at += len(piece)
            while place < len(words) and words[place].end() <= start:
                place += 1
            if start < at:
                sums[place] += weight
        return [(word.group(), total) for word, total in zip(words, sums, strict=True)]

    def strongest(self, count: int) -> list[tuple[str, float]]:
        """Return the words that count most, each once with the sum of its places, the strongest first; none without weight."""
        sums: dict[str, float] = {}
        for word, weight in self.words():
            sums[word] = sums.get(word, 0.0) + weight
        ranked = sorted(sums.items(), key=lambda each: -abs(each[1]))
        return [(word, weight) for word, weight in ranked[:count] if weight]


@runtime_checkable
class Explains(Protocol):
    """A reranker that can show what it looked at. Pure: it computes for one query what ``run`` computed, and looks closer."""

    def explain(
        self, query: str, candidates: tuple[CodeArray, ScoreArray], state: Any, top: int
    ) -> list[Explanation]:
        """Explain the best documents of a query.

        Args:
            query: its text.
            candidates: the codes and scores that the stage before gave.
            state: what ``prepare`` returned.
            top: how many documents to explain, best first in this stage's order; fewer where it read fewer.
        """
        ...
