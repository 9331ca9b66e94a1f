"""Reranking by a language model that writes the new order down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from irkit.core.errors import ModelError
from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.data.docstore import DocStore
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, Reranker
from irkit.stages.rerank.depth import rerank
from irkit.stages.rerank.language import ModelOptions, shortened
from irkit.stages.rerank.permutation import (
    Outputs,
    Permutation,
    closing,
    marker,
    opening,
    parse,
    unmarked,
    windows,
)

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

LEAST = 8
"""Tokens of every document for which there must be room."""


@dataclass
class ListwiseState:
    """What ``prepare`` opens: the model, the documents' texts, and what takes decisions and counts."""

    model: CausalLM
    docs: DocStore
    notes: dict[str, Any]
    counts: Counter[str]

    @cached_property
    def template(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tokens before and behind the user's message."""
        template = self.model.template()
        prefix, suffix = self.model.encode([template.prefix, template.suffix], special=True)
        return prefix, suffix

    def limit(self, count: int) -> int:
        """Return how many tokens a permutation of ``count`` passages has at most, the end of the turn included."""
        pieces = self.model.encode([f"[{number}] > " for number in range(1, count + 1)])
        return sum(map(len, pieces)) + 1


@dataclass
class _Sorting:
    """One query's list while it is sorted.

    Attributes:
        texts: the tokens of its documents.
        order: the documents' places, best first as far as is known.
        ahead: the windows that are still to be sorted, the next one first.
    """

    qid: str
    query: str
    texts: list[NDArray[np.int64]]
    order: list[int]
    ahead: list[tuple[int, int]]

    def settle(self, answer: Permutation) -> None:
        """Put the next window into the order that the model wrote."""
        start, stop = self.ahead.pop(0)
        self.order[start:stop] = [self.order[start + place] for place in answer.order]

    def scores(self) -> ScoreArray | None:
        """Return 1 / rank of each document, ``float32[n]`` by place; None for a blank query, which says nothing of any document."""
        if not self.query.strip():
            return None
        scores = np.empty(len(self.order), np.float32)
        scores[self.order] = 1 / np.arange(1, len(self.order) + 1)
        return scores


class Listwise(ModelOptions, Reranker):
    """Have a language model write down the order of a window of candidates, and slide the window from the back of the list to its
    front (RankGPT: Sun et al., 2023, arXiv 2304.09542).

    Decoding is greedy. What the model writes is mended as RankGPT does it, and counted: see
    :mod:`irkit.stages.rerank.permutation`. As the model gives an order and no scores, the document at rank r of the final order
    gets the score 1 / r. Identifiers such as [3] in queries and documents become (3). A blank query leaves the order, and
    the scores, as they are.

    On accelerators, windows of several queries share a call: see :func:`irkit.models.lm.generation.generate`.
    """

    cache_version: ClassVar[int] = 1
    chunk: ClassVar[int] = 16
    uncounted: ClassVar[str] = "attention, where irkit's own CUDA kernels do it"

    window: int = Field(default=20, ge=2)
    """How many candidates the model orders at a time."""
    stride: PositiveInt = 10
    """By how many places the window moves on: ``window - stride`` of its best candidates meet the next ones."""

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        if self.stride >= self.window:
            message = f"the windows of {self.window} do not overlap with a stride of {self.stride}: take a smaller stride"
            raise ValueError(message)
        return self

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.model_identity(context)

    def prepare(self, context: Context) -> ListwiseState:
        """Load the model.

        Raises:
            ModelError: when there is no such model, or it cannot be loaded.
        """
        model = self.load_model(context, attention="sdpa")
        return ListwiseState(model, context.collection.docs, context.notes, context.counts)

    def run(self, batch: Batch, state: ListwiseState) -> Rankings:
        """Sort the first ``depth`` candidates of every query.

        Raises:
            ModelError: when a window does not fit into the model's positions, or into the device's memory.
        """
        top = batch.rankings if self.depth is None else batch.rankings.top(self.depth)
        sortings = [
            self._sorting(qid, text, docs, state)
            for qid, text, (docs, _) in zip(batch.queries.qid, batch.queries.text, top, strict=True)
        ]
        # the windows of one query wait for each other, those of different queries do not
        while under_way := [sorting for sorting in sortings if sorting.ahead]:
            self._advance(under_way, state)
        return rerank(batch.rankings, self.depth, lambda query, _docs: sortings[query].scores())

    def _sorting(self, qid: str, query: str, docs: CodeArray, state: ListwiseState) -> _Sorting:
        passages = [f" {unmarked(text)}" if text else "" for text in self.passages(state.docs, docs)]
        ahead = windows(len(docs), self.window, self.stride) if len(docs) > 1 and query.strip() else []
        order = self.given(len(docs), query).tolist()
        return _Sorting(qid, unmarked(query), state.model.encode(passages) if ahead else [], order, ahead)

    def _advance(self, sortings: list[_Sorting], state: ListwiseState) -> None:
        """Sort the next window of each query."""
        from irkit.models.lm.generation import generate

        sizes = [stop - start for start, stop in (sorting.ahead[0] for sorting in sortings)]
        limits = [state.limit(size) for size in sizes]
        prompts = [self._prompt(each, limit, state) for each, limit in zip(sortings, limits, strict=True)]
        texts = generate(state.model, prompts, limits, budget=self.batch_tokens, notes=state.notes)
        outputs = Outputs()
        for sorting, size, text in zip(sortings, sizes, texts, strict=True):
            answer = parse(text, size)
            outputs.add(answer)
            sorting.settle(answer)
        state.counts.update({f"outputs/{kind}": count for kind, count in outputs.counts.items()})

    def _prompt(self, sorting: _Sorting, limit: int, state: ListwiseState) -> NDArray[np.int64]:
        """Return the tokens of the next window's prompt, ``int64[n]``: documents are cut to what the model's positions leave."""
        start, stop = sorting.ahead[0]
        count = stop - start
        texts = [sorting.texts[place] for place in sorting.order[start:stop]]
        prefix, suffix = state.template
        before, *markers, behind = state.model.encode(
            [
                opening(sorting.query, count),
                *(marker(number) for number in range(1, count + 1)),
                closing(sorting.query, count),
            ]
        )
        fixed = sum(map(len, (prefix, before, *markers, behind, suffix))) + limit
        if state.model.positions is not None:
            room = state.model.positions - fixed
            least = sum(min(len(text), LEAST) for text in texts)
            if room < least:
                raise ModelError.of(
                    f"{count} documents do not fit into the model's {state.model.positions} positions: "
                    f"query, instruction and answer take {fixed}",
                    where=f"listwise, query {sorting.qid!r}",
                    hint="take a smaller window, a shorter query, or a model with more positions",
                )
            texts, cut = shortened(texts, room)
            state.counts["documents_cut"] += cut
        parts = [part for pair in zip(markers, texts, strict=True) for part in pair]
        return np.concatenate([prefix, before, *parts, behind, suffix]).astype(np.int64, copy=False)
