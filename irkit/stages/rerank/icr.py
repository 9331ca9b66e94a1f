"""In-context reranking: documents are scored by how much the query looks at them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from irkit.core.errors import ModelError, Problem
from irkit.core.explanation import Explanation
from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.data.docstore import DocStore
from irkit.models.lm.heads import Heads, load_heads
from irkit.pipeline.context import Context
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import Batch, Reranker
from irkit.stages.rerank.depth import below, rerank
from irkit.stages.rerank.language import HeadsOption, LanguageModelOptions, heads_faults
from irkit.stages.rerank.permutation import windows

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM
    from irkit.stages.rerank.calibration import Floats
    from irkit.stages.rerank.icr_prompt import IcrPrompt


@dataclass
class IcrState:
    """What ``prepare`` opens.

    Attributes:
        model: the language model.
        docs: the documents' texts.
        heads: by layer, those that are read; None for all.
        layers: that are read; None for all. The model is run up to the last of them.
        notes: takes what was decided.
        counts: takes how many documents were shortened.
    """

    model: CausalLM
    docs: DocStore
    heads: Mapping[int, tuple[int, ...]] | None
    layers: list[int] | None
    notes: dict[str, Any]
    counts: Counter[str]


@dataclass
class _List:
    """The candidates of one query while they are scored, window by window.

    Attributes:
        name: what errors call the query.
        query: its text.
        docs: the candidates' codes.
        order: their places, best first as far as is known.
        scores: ``float32[n]`` of the places in ``order``, descending, from the start of the last window on.
        ahead: the windows that are still to be scored, the next one first.
        parts: what was last read of the candidates, by place, where that is kept.
    """

    name: str
    query: str
    docs: CodeArray
    order: NDArray[np.int64]
    ahead: list[tuple[int, int]]
    scores: ScoreArray = field(init=False)
    parts: dict[int, tuple[IcrPrompt, int, Floats, float]] | None = None

    def __post_init__(self) -> None:
        self.scores = np.zeros(len(self.order), np.float32)

    def settle(self, scores: Floats) -> NDArray[np.int64]:
        """Put the next window into the order of its scores; return the places of its documents as they were.

        The documents behind it keep their order and distances: the old score of the last document that the window has anew becomes
        the window's least, as :func:`irkit.stages.rerank.depth.rerank` does it, for scores of two prompts cannot be compared.
        """
        start, stop = self.ahead.pop(0)
        members = self.order[start:stop].copy()
        new = scores.astype(np.float32)
        by_score = np.argsort(-new, kind="stable")
        if stop < len(self.order):
            self.scores[stop:] = below(new.min(), self.scores[stop - 1 :])
        self.order[start:stop], self.scores[start:stop] = members[by_score], new[by_score]
        return members

    def result(self) -> ScoreArray | None:
        """Return the scores ``float32[n]`` by place; None for a blank query, which says nothing of any document."""
        if not self.query.strip():
            return None
        found = np.empty_like(self.scores)
        found[self.order] = self.scores
        return found


def _two(value: Any) -> Any:
    """Refuse what is no list of two, and say how to write it: two numbers that are there are meant."""
    if value is None or (isinstance(value, list | tuple) and len(value) == 2):
        return value
    numbers = re.findall(r"[0-9]+", str(value)) or ["10", "13"]
    message = "this must be a list of the first layer and the last"
    raise OptionError(message, f"write [{numbers[0]}, {numbers[-1]}]")


class Icr(LanguageModelOptions, Reranker):
    """In-context reranking (Chen, Gutierrez and Su, 2024, arXiv 2410.02642), with any causal language model and without decoding.

    The model reads all candidates and then the query. A candidate's score is the attention that the query's rows pay to its tokens,
    summed over heads and layers, less that of the query "N/A" (:mod:`irkit.stages.rerank.calibration`); documents and both
    queries are one forward pass (:mod:`irkit.stages.rerank.icr_prompt`).

    Scores of different queries cannot be compared, and depend on the other candidates and their order. An empty document is read
    as its number alone, and has that number's score. A blank query leaves the order as it is. On the CPU a query's scores are the
    same whatever other queries there are, to the last bit; on accelerators, where queries share a pass, to the precision of
    ``dtype``.
    """

    cache_version: ClassVar[int] = 1
    chunk: ClassVar[int] = 32
    uncounted: ClassVar[str] = "attention, where irkit's own CUDA kernels do it"

    heads: HeadsOption = None
    """The heads that are read, which also says the layers: a file of ``irkit heads detect``, the name of a published list, or a
    list such as ``[13-18, 8-11]`` (layer-head, from 0). All for null."""
    layers: Annotated[tuple[NonNegativeInt, NonNegativeInt] | None, BeforeValidator(_two)] = None
    """First and last layer that are read, from 0 (Selective-ICR, arXiv 2602.22591). All for null."""
    instruction: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = "general"
    """Before the query: the paper's two, ``qa`` for questions and ``general``, or a text of your own."""
    order: Literal["reverse", "given"] = "reverse"
    """``reverse`` puts the best candidate last, nearest to the query."""
    rows: Literal["suffix", "query"] = "suffix"
    """Whose attention is read: of all tokens from the instruction to the end, or of the query's alone (Selective-ICR)."""
    calibrate: bool = True
    """Take off the attention of the query "N/A", and drop outliers."""
    window: int | None = Field(default=None, ge=2)
    """How many candidates the model reads at a time, in windows that slide from the back of the list to its front. All for null,
    which the paper's authors found better."""
    stride: PositiveInt | None = None
    """By how many places the window moves on; half of ``window`` unless given."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.heads is not None and self.layers is not None:
            raise ValueError("heads say their layers: give heads or layers, not both")
        if self.layers is not None and self.layers[0] > self.layers[1]:
            message = f"layers: the first, {self.layers[0]}, lies behind the last, {self.layers[1]}"
            raise ValueError(message)
        if self.stride is not None and self.window is None:
            hint = f"give window too, such as {{window: {2 * self.stride}, stride: {self.stride}}}, or leave stride out"
            raise OptionError("stride needs window: without it, all candidates are read at once", hint)
        if self.stride is not None and self.window is not None and self.stride >= self.window:
            message = "windows must overlap: take a stride smaller than the window, or leave it out"
            raise ValueError(message)
        return self

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the list of heads."""
        return heads_faults(self.heads, self.model, base)

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint, the libraries' versions, and the heads' fingerprint."""
        heads = self._heads(context)
        return self.model_identity(context) | ({} if heads is None else {"heads": heads.fingerprint})

    def prepare(self, context: Context) -> IcrState:
        """Load the model and the heads.

        Raises:
            ModelError: when there is no such model, it cannot be loaded, or it does not have these heads or layers.
        """
        heads = self._heads(context)
        model = self.load_model(context)
        layers = None
        if heads is not None:
            self.check_heads(heads, model, context)
            layers = list(heads.by_layer)
        elif self.layers is not None:
            if self.layers[1] >= model.layers:
                raise ModelError.of(
                    f"the model has {model.layers} layers, counted from 0; layer {self.layers[1]} is none of them",
                    where=model.name,
                    hint=f"end layers at {model.layers - 1} at most",
                )
            layers = list(range(self.layers[0], self.layers[1] + 1))
        by_layer = None if heads is None else heads.by_layer
        return IcrState(model, context.collection.docs, by_layer, layers, context.notes, context.counts)

    def _heads(self, context: Context) -> Heads | None:
        return None if self.heads is None else load_heads(self.heads, context.workspace)

    def run(self, batch: Batch, state: IcrState) -> Rankings:
        """Score the first ``depth`` candidates of every query.

        Raises:
            ModelError: when a prompt does not fit into the model's positions or the device's memory, or its attention is not
                finite.
        """
        top = batch.rankings if self.depth is None else batch.rankings.top(self.depth)
        lists = [
            self._list(f"icr, query {qid!r}", text, docs)
            for qid, text, (docs, _) in zip(batch.queries.qid, batch.queries.text, top, strict=True)
        ]
        self._score(lists, state)
        return rerank(batch.rankings, self.depth, lambda query, _docs: lists[query].result())

    def explain(
        self, query: str, candidates: tuple[CodeArray, ScoreArray], state: IcrState, top: int
    ) -> list[Explanation]:
        """Score the candidates of one query again and tell what was looked at in the best ``top`` of them, best first.

        Args:
            query: its text.
            candidates: codes and scores of the stage before, best first.
            state: what ``prepare`` returned.
            top: how many documents.

        Returns:
            a piece is a token's text; the number before a document, such as "[3] ", is part of it, and its tokens have weights.
            With windows, a document's score is that of the last one it was in. Nothing for a blank query.

        Raises:
            ModelError: as for :meth:`run`.
        """
        whole = self._list("icr, this query", query, candidates[0][: self.depth])
        whole.parts = {}
        self._score([whole], replace(state, counts=Counter()))
        if whole.result() is None:
            return []
        found = []
        # canonical order, in which equal scores stand by code
        order = np.lexsort((-whole.docs[whole.order], -whole.scores))
        for place in whole.order[order[:top]].tolist():
            prompt, number, weights, score = whole.parts[place]
            first, last = prompt.bounds[number]
            explained = tuple(weights[first:last].tolist())
            found.append(Explanation(int(whole.docs[place]), score, prompt.pieces(number), explained))
        return found

    def _list(self, name: str, query: str, docs: CodeArray) -> _List:
        size = len(docs) if query.strip() else 0
        window = self.window or max(size, 1)
        ahead = windows(size, window, self.stride or max(window // 2, 1))
        return _List(name, query, docs, self.given(len(docs), query), ahead)

    def _score(self, lists: list[_List], state: IcrState) -> None:
        """Score all windows. Those of one query wait for each other, those of different queries do not."""
        from irkit.models.lm.packing import read_prompts
        from irkit.stages.rerank.calibration import TokenScores, document_scores

        while under_way := [each for each in lists if each.ahead]:
            prompts = [self._prompt(each, state) for each in under_way]
            read = read_prompts(
                state.model,
                [prompt.prompt for prompt in prompts],
                lambda _: TokenScores(state.heads, self.calibrate),
                layers=state.layers,
                budget=self.batch_tokens,
                notes=state.notes,
            )
            for each, prompt, collected in zip(under_way, prompts, read, strict=True):
                tokens = collected.result()
                if not np.isfinite(tokens).all():
                    raise ModelError.of(
                        "the attention is not finite",
                        where=each.name,
                        hint="take dtype: bfloat16 or float32; float16 cannot hold what some models compute",
                    )
                scores, weights = document_scores(tokens, prompt.bounds, outliers=not self.calibrate)
                # the model may have read them the other way round
                numbers = np.arange(len(scores))[:: -1 if self.order == "reverse" else 1]
                members = each.settle(scores[numbers])
                if each.parts is not None:
                    each.parts |= {
                        place: (prompt, int(number), weights, float(scores[number]))
                        for place, number in zip(members.tolist(), numbers, strict=True)
                    }

    def _prompt(self, of: _List, state: IcrState) -> IcrPrompt:
        """Return the prompt of the next window."""
        from irkit.stages.rerank.icr_prompt import make_prompt

        start, stop = of.ahead[0]
        passages = self.passages(state.docs, of.docs[of.order[start:stop]])
        prompt = make_prompt(
            state.model,
            of.query,
            passages[::-1] if self.order == "reverse" else passages,
            instruction=self.instruction,
            rows=self.rows,
            calibrate=self.calibrate,
            where=of.name,
        )
        state.counts["documents_cut"] += prompt.cut
        return prompt
