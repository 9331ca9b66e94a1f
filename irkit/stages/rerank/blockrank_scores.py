"""From attention to BlockRank's scores: shares of tokens, summed over documents."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, ScoreArray
from irkit.stages.rerank.blockrank_prompt import Ints, Question

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query and its candidates, as they are given to the model.

    Attributes:
        codes: ``int32[n]``, the documents in the order in which they are given.
        order: ``int64[n]``, which of the candidates each is.
        labels: their IDs in the prompt.
        question: what the query adds.
    """

    codes: CodeArray
    order: Ints
    labels: list[int]
    question: Question

    @property
    def names(self) -> list[Hashable]:
        """What decides a document's block."""
        return [
            (code, label, self.question.limit)
            for code, label in zip(self.codes.tolist(), self.labels, strict=True)
        ]

    def scores(self, weights: Floats, lengths: Ints) -> ScoreArray:
        """Return the scores of the candidates, ``float32[n]``, in their order before."""
        sums = np.add.reduceat(weights, np.cumsum(lengths) - lengths)
        scores = np.empty(len(sums), np.float32)
        scores[self.order] = sums
        return scores


def groups(asked: Sequence[Asked], documents: int, questions: int) -> Iterator[Sequence[Asked]]:
    """Yield queries that share a forward pass over documents that are there; each at least alone.

    Args:
        asked: all queries.
        documents: tokens of documents there may be at once: that many can be kept, or computed for one use.
        questions: tokens of the queries' last blocks.
    """
    start = 0
    while start < len(asked):
        stop, size, tokens = start, 0, 0
        while stop < len(asked):
            question = asked[stop].question
            size += len(asked[stop].order) * question.limit
            tokens += len(question.last)
            if stop > start and (size > documents or tokens > questions):
                break
            stop += 1
        yield asked[start:stop]
        start = stop


class Shares:
    """The mean over some heads of the attention that one prompt's tokens get; on the device until it is asked for."""

    def __init__(self, heads: Mapping[int, tuple[int, ...]]) -> None:
        self._heads = heads
        self._sum: Tensor | None = None

    def take(self, layer: int, _read: int, weights: Tensor) -> None:
        """Take ``float32[heads, documents' tokens]`` of a layer."""
        wanted = self._heads[layer]
        some = (weights if len(wanted) == len(weights) else weights[list(wanted)]).sum(0)
        self._sum = some if self._sum is None else self._sum + some

    def values(self) -> Floats:
        """Return ``float64[documents' tokens]``, which add up to 1."""
        count = sum(len(heads) for heads in self._heads.values())
        values: Floats = (self._sum.double() / count).cpu().numpy() if self._sum is not None else np.zeros(0)
        return values
