"""Reranking with a cross-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from irkit.core.rankings import Rankings
from irkit.data.docstore import DocStore
from irkit.models.device import use_threads
from irkit.models.resolve import identify, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION, Batch, Reranker
from irkit.stages.encoding import libraries
from irkit.stages.rerank.depth import rerank

if TYPE_CHECKING:
    from irkit.models.scorer import PairScorer


@dataclass(frozen=True)
class CrossEncoderState:
    """What ``prepare`` opens: the model and the documents' texts."""

    scorer: PairScorer
    docs: DocStore


class CrossEncoder(Reranker):
    """Score every candidate together with the query (Nogueira and Cho, 2019) by any CrossEncoder of
    sentence-transformers.

    The text of a document is "title body", cut by the model's tokeniser. The score of a pair depends on that
    pair alone; what remains on accelerators is stated in :mod:`irkit.models.batching`.
    """

    cache_version: ClassVar[int] = 2
    chunk: ClassVar[int] = 32

    model: str
    """A name of the catalogue, a local folder, or a hub id ``org/name[@revision]``."""
    depth: PositiveInt | None = 100
    """Rerank the first so many; the others keep their order and distances below them. All for null."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the model's weights and arithmetic."""
    max_length: PositiveInt | None = None
    """Truncate a pair to this many tokens; the model's own limit unless given."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Read it first."""
    batch_size: PositiveInt = Field(default=32, json_schema_extra=dict(EXECUTION))
    """Pairs a batch; halved when the device runs out of memory."""
    device: str | None = Field(default=None, json_schema_extra=dict(EXECUTION))
    """A torch device; the best there is unless given."""

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return {"model": identify(self.model, context.workspace), "libraries": libraries()}

    def prepare(self, context: Context) -> CrossEncoderState:
        """Load the model.

        Raises:
            ModelError: when there is no such model, it is no cross-encoder, or it cannot be loaded.
        """
        from irkit.models.scorer import PairScorer

        use_threads(context.runtime.threads)
        scorer = PairScorer(
            resolve(self.model, context.workspace),
            dtype=self.dtype,
            max_length=self.max_length,
            trust_remote_code=self.trust_remote_code,
            device=self.device or context.runtime.device,
            batch_size=self.batch_size,
            threads=context.runtime.threads,
            notes=context.notes,
        )
        return CrossEncoderState(scorer, context.collection.docs)

    def run(self, batch: Batch, state: CrossEncoderState) -> Rankings:
        """Score the first ``depth`` candidates of all queries together, so that pairs of one length share a batch."""
        top = batch.rankings if self.depth is None else batch.rankings.top(self.depth)
        texts = dict(zip(unique := np.unique(top.doc), state.docs.texts(unique), strict=True))
        pairs = [
            (batch.queries.text[query], texts[doc]) for query, doc in zip(top.query, top.doc, strict=True)
        ]
        scores = state.scorer.scores(pairs)
        return rerank(
            batch.rankings,
            self.depth,
            lambda query, _docs: scores[top.offsets[query] : top.offsets[query + 1]],
        )
