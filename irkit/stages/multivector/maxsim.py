"""MaxSim over token vectors: rerank what came before, or search the whole collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, Needs
from irkit.stages.multivector.options import LateInteraction
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.rerank.depth import rerank
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.multivector.scoring import MaxSimScorer


@dataclass(frozen=True)
class MaxSimState:
    """What ``prepare`` opens: the encoder for the queries, and the scorer over the documents' token vectors."""

    encoder: TextEncoder
    tokens: Tokens
    scorer: MaxSimScorer


class MaxSim(LateInteraction):
    """Score by late interaction (ColBERT's MaxSim) over the token vectors of a bi-encoder or a
    MultiVectorEncoder.

    After another stage it reranks that stage's documents; as the first stage it searches every document
    exactly, which suits some ten thousand. Scores do not depend on block sizes, threads or device, given the
    token vectors: see :mod:`irkit.stages.multivector.scoring`. A query without any token, to which all documents are
    alike, leaves another stage's ranking as it is.
    """

    cache_version: ClassVar[int] = 3
    kind = "reranker"
    needs: ClassVar[Needs] = "optional"
    chunk: ClassVar[int] = 256

    k: PositiveInt = 1000
    """How many documents to return as the first stage."""
    depth: PositiveInt | None = None
    """Rerank the first so many; the others keep their order below them. All unless given."""

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the documents' token vectors."""
        return self.token_recipes(context)

    def prepare(self, context: Context) -> MaxSimState:
        """Load the model, and encode the documents where the store lacks their token vectors.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder.
        """
        from irkit.stages.multivector.scoring import MaxSimScorer

        encoder = self.load_encoder(context)
        tokens = self.open_tokens(context, encoder)
        return MaxSimState(encoder, tokens, MaxSimScorer(tokens, encoder.device, context.runtime.threads))

    def run(self, batch: Batch, state: MaxSimState) -> Rankings:
        """Rerank the upstream's documents, or search all."""
        queries = batch.queries
        tokens = self.asked_tokens(state.encoder, state.tokens, queries)
        if batch.upstream:
            first = batch.rankings if self.depth is None else batch.rankings.top(self.depth)
            scores = state.scorer.rescore_all(tokens, first)
            return rerank(
                batch.rankings,
                self.depth,
                lambda query, _: (
                    scores[first.offsets[query] : first.offsets[query + 1]] if len(tokens[query]) else None
                ),
            )
        found = state.scorer.search(tokens, self.k + queries.max_excluded)
        return found.without(queries.exclude).top(self.k)
