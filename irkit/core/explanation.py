"""What a reranker saw in a document: the text that it read, piece by piece, and how much it looked at each piece."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one document came to its score for one query.

    Attributes:
        doc: the code of the document.
        score: the document's score before it was brought to the run's scale, which the weights add up to.
        pieces: the tokens' texts; put together they are what the model read of the document.
        weights: what each piece contributes to the score; 0 for those that the method leaves out.
    """

    doc: int
    score: float
    pieces: tuple[str, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.weights):
            raise ValueError(f"{len(self.pieces)} pieces and {len(self.weights)} weights")
