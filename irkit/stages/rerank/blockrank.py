"""BlockRank: documents that do not see each other, scored by how much the last tokens of the question look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from irkit.core.errors import ConfigError, ModelError
from irkit.core.explanation import Explanation
from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.data.docstore import DocStore
from irkit.models.device import is_out_of_memory
from irkit.models.lm.kept import KeptDocuments
from irkit.models.lm.packing import Prompt, read_prompts
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, Reranker
from irkit.stages.rerank.blockrank_options import BlockRankOptions, Decided
from irkit.stages.rerank.blockrank_prompt import (
    Frame,
    Ints,
    behind,
    encode_documents,
    pieces,
    sliding_window,
)
from irkit.stages.rerank.blockrank_scores import Asked, Floats, Shares, groups
from irkit.stages.rerank.depth import rerank

if TYPE_CHECKING:
    from torch import Tensor

    from irkit.models.lm.model import CausalLM
else:
    Tensor: TypeAlias = Any


@dataclass(frozen=True)
class BlockRankState:
    """What ``prepare`` opens.

    Attributes:
        model: the language model.
        docs: the documents' texts.
        decided: the options that the experiment may leave to the model.
        frame: the model's template.
        heads: those that are read, by layer.
        kept: computes, and keeps, documents without their query; None where a prompt is read in one piece.
        notes: takes what was decided.
        counts: takes how many documents were cut.
        cut: the kept documents that were cut.
    """

    model: CausalLM
    docs: DocStore
    decided: Decided
    frame: Frame
    heads: Mapping[int, tuple[int, ...]]
    kept: KeptDocuments | None
    notes: dict[str, Any]
    counts: Counter[str]
    cut: set[Hashable] = field(default_factory=set)


class BlockRank(BlockRankOptions, Reranker):
    """Read all candidates of a query in one prompt, in which a document sees the instruction and itself, and the question
    everything; a document's score is the share of attention that it gets (Gupta et al., 2025, arXiv 2510.05396).

    Score of document d = mean over heads h and the signal tokens r (``signal``) of the sum over the tokens t of d
    of softmax_t(q_hr . k_ht / sqrt(head_dim)), the softmax over the tokens of all documents, at one layer. The scores of a list
    sum to 1 and say nothing across lists. An empty document is read as its block without content, and has that block's score. A
    blank query leaves the order as it is.

    With ``stable_ids`` the scores do not depend on the order of the candidates, up to rounding in float32. Kept documents give the
    scores of computed ones: to the last bit on the CPU, up to the precision of ``dtype`` elsewhere.
    """

    chunk: ClassVar[int] = 16
    uncounted: ClassVar[str] = "attention, where irkit's own CUDA kernels do it"

    def prepare(self, context: Context) -> BlockRankState:
        """Load the model, and take the memory for kept documents.

        Raises:
            ModelError: when there is no such model or list of heads, or the model's attention cannot be read.
            ConfigError: when the model has no such layer, or cannot keep documents.
        """
        decided = self.decided(context.workspace)
        if decided.own:
            context.notes["trained"] = ", ".join(f"{name} {value}" for name, value in decided.own.items())
        if decided.against:
            trained = ", ".join(f"{name} {value}" for name, value in decided.against.items())
            context.notes["not_as_trained"] = f"trained with {trained}"
            told = f"{self.model} was trained with {trained}: leave {' and '.join(decided.against)} out to have it so"
            context.warn(told)
        model = self.load_model(context)
        heads = self._read_heads(model, context, decided.layer)
        frame, window = Frame.of(model), sliding_window(model)
        first = frame.first(model, None) if decided.layout == "query-free" else None
        if self.cache_gb is not None and window:
            message = f"this model has layers that see {window} positions back, and documents are not kept for those"
            raise ConfigError.of(message, where="cache_gb", hint="leave cache_gb out")
        kept = None
        if first is not None and not window:
            kept = KeptDocuments(
                model,
                first,
                layers=max(heads) + 1,
                limit=int((self.cache_gb or 0) * 1e9),
                budget=self.batch_tokens,
                notes=context.notes,
            )
        docs, notes, counts = context.collection.docs, context.notes, context.counts
        return BlockRankState(model, docs, decided, frame, heads, kept, notes, counts)

    def _read_heads(
        self, model: CausalLM, context: Context, layer: int | None
    ) -> Mapping[int, tuple[int, ...]]:
        found = self.listed_heads(context)
        if found is not None:
            self.check_heads(found, model, context)
            return found.by_layer
        layer = layer if layer is not None else max(round(0.65 * model.layers) - 1, 0)
        if layer >= model.layers:
            message = f"the model has no layer {layer}: it has {model.layers}, counted from 0"
            raise ConfigError.of(message, where="layer", hint="take a smaller one, or leave it out")
        return {layer: tuple(range(model.heads))}

    def run(self, batch: Batch, state: BlockRankState) -> Rankings:
        """Score the first ``depth`` candidates of every query."""
        queries, rankings = batch.queries, batch.rankings
        top = rankings if self.depth is None else rankings.top(self.depth)
        rows = [row for row, text in enumerate(queries.text) if text.strip() and len(top[row][0])]
        asked = [
            self._ask(state, queries.text[row], top[row][0], f"query {queries.qid[row]}") for row in rows
        ]
        scores = {
            row: each.scores(*shares)
            for row, each, shares in zip(rows, asked, self._shares(asked, state), strict=True)
        }
        state.counts["documents_cut"] += sum(name in state.cut for each in asked for name in each.names)
        return rerank(rankings, self.depth, lambda query, _docs: scores.get(query))

    def explain(
        self, query: str, candidates: tuple[CodeArray, ScoreArray], state: BlockRankState, top: int
    ) -> list[Explanation]:
        """Return the best documents of one query, best first, with the attention that each of their tokens gets; nothing
        for a blank query.

        Args:
            query: its text.
            candidates: its documents, in the order of the stage before, and their scores there.
            state: what ``prepare`` returned.
            top: how many documents, at most.
        """
        codes = candidates[0] if self.depth is None else candidates[0][: self.depth]
        if not query.strip() or not len(codes):
            return []
        asked = self._ask(state, query, codes, f"query {query!r}")
        ((weights, lengths),) = self._shares([asked], state)
        scores, ends = asked.scores(weights, lengths), np.cumsum(lengths)
        found = []
        for row in np.lexsort((-codes, -scores))[:top]:
            place = int(np.flatnonzero(asked.order == row)[0])
            text = self._texts(state, codes[row : row + 1])[0]
            tokens = pieces(state.model, asked.labels[place], text, asked.question)
            shares = weights[ends[place] - lengths[place] : ends[place]]
            found.append(Explanation(int(codes[row]), float(scores[row]), tokens, tuple(shares.tolist())))
        return found

    def _texts(self, state: BlockRankState, codes: CodeArray) -> list[str]:
        return [state.decided.passage(state.docs.text(int(code))) for code in codes]

    def _ask(self, state: BlockRankState, query: str, codes: CodeArray, name: str) -> Asked:
        order, decided = self.given(len(codes), query), state.decided
        stable = self.stable_ids if self.stable_ids is not None else decided.layout == "query-free"
        labels = list(range(len(codes)))
        if stable and decided.layout == "released":
            labels = np.argsort(np.argsort(codes))[order].tolist()
        elif stable:
            labels = codes[order].tolist()
        question = decided.question(name, query, state.model, state.frame)
        return Asked(codes[order], order, labels, question)

    def _shares(self, asked: Sequence[Asked], state: BlockRankState) -> Iterator[tuple[Floats, Ints]]:
        """Yield every query's shares of attention, token by token of its documents as given, and the documents' lengths."""
        model, layers = state.model, sorted(state.heads)
        if state.kept is not None:
            shared = 0 if model.device == "cpu" else self.batch_tokens  # as in read_prompts
            for group in groups(asked, state.kept.size or shared, shared):
                yield from self._behind(group, state, state.kept)
            return
        blocks = [self._encode(state, each, range(len(each.order))) for each in asked]
        made = [each.question.prompt(some) for each, some in zip(asked, blocks, strict=True)]
        prompts = [Prompt(segments, (read,)) for segments, read in made]
        found = read_prompts(
            model,
            prompts,
            lambda _prompt: Shares(state.heads),
            layers=layers,
            budget=self.batch_tokens,
            notes=state.notes,
        )
        for shares, some in zip(found, blocks, strict=True):
            yield shares.values(), np.array([len(block) for block in some], np.int64)

    def _behind(
        self, asked: Sequence[Asked], state: BlockRankState, kept: KeptDocuments
    ) -> Iterator[tuple[Floats, Ints]]:
        """Yield the shares of queries whose last blocks share a forward pass over documents that are there, or are now computed."""
        begins = np.cumsum([0, *(len(each.order) for each in asked)])

        def encode(places: list[int]) -> list[Ints]:
            blocks = []
            for each, begin, end in zip(asked, begins[:-1], begins[1:], strict=True):
                blocks += self._encode(
                    state, each, [place - int(begin) for place in places if begin <= place < end]
                )
            return blocks

        behind_them = sum(len(each.question.last) for each in asked)
        shares = [Shares(state.heads) for _ in asked]

        def sink(layer: int, read: int, weights: Tensor) -> None:
            shares[read].take(layer, 0, weights)

        try:
            past, lengths = kept.past([each.names for each in asked], encode, behind_them)
            segments, reads = behind(
                [(each.question, some) for each, some in zip(asked, lengths, strict=True)]
            )
            state.model.read(segments, reads=reads, sink=sink, layers=sorted(state.heads), past=past)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(asked) == 1:
                raise ModelError.of(
                    "the device has too little memory for the documents of this query",
                    where=asked[0].question.name,
                    hint="take a smaller cache_gb, fewer or shorter documents (depth, words), or another device",
                ) from error
            for one in asked:
                yield from self._behind([one], state, kept)
            return
        for found, some in zip(shares, lengths, strict=True):
            yield found.values(), some

    def _encode(self, state: BlockRankState, asked: Asked, places: Sequence[int]) -> list[Ints]:
        texts = self._texts(state, asked.codes[list(places)])
        labels = [asked.labels[place] for place in places]
        blocks, cut = encode_documents(state.model, labels, texts, asked.question)
        names = asked.names
        state.cut.update(names[place] for place, short in zip(places, cut, strict=True) if short)
        return blocks
