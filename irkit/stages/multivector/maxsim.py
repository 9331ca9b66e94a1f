"""MaxSim over token vectors: rerank what came before, or search the whole collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, Needs, Stage
from irkit.stages.encoding import EncoderOptions
from irkit.stages.multivector.tokens import Tokens, build_tokens, tokens_recipe
from irkit.stages.rerank.depth import rerank
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder
    from irkit.stages.multivector.scoring import MaxSimScorer


@dataclass(frozen=True)
class MaxSimState:
    """What ``prepare`` opens: the encoder for the queries, and the scorer over the documents' token vectors."""

    encoder: Encoder
    scorer: MaxSimScorer


class MaxSim(Stage, EncoderOptions):
    """Score by late interaction (ColBERT's MaxSim) over the token vectors of a bi-encoder or a
    MultiVectorEncoder.

    After another stage it reranks that stage's documents; as the first stage it searches every document
    exactly, which suits some ten thousand. Scores do not depend on block sizes, threads or device, given the
    token vectors: see :mod:`irkit.stages.multivector.scoring`.
    """

    kind = "reranker"
    needs: ClassVar[Needs] = "optional"
    chunk: ClassVar[int] = 256

    k: PositiveInt = 1000
    """How many documents to return as the first stage."""
    depth: PositiveInt | None = None
    """Rerank the first so many; the others keep their order below them. All unless given."""
    query_special_tokens: bool | None = None
    """Whether the special tokens of a query, such as [CLS] and [SEP], count; those of a document always do.

    Unless given, a bi-encoder's do not (they match everything a little), and a MultiVectorEncoder decides itself.
    """

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipe of the documents' token vectors."""
        return [tokens_recipe(self, context)]

    def prepare(self, context: Context) -> MaxSimState:
        """Load the model, and encode the documents where the store lacks their token vectors.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder.
        """
        from irkit.stages.multivector.scoring import MaxSimScorer

        encoder = self.load_encoder(context)
        artifact = context.artifact(
            tokens_recipe(self, context), lambda build: build_tokens(build, context, encoder)
        )
        return MaxSimState(encoder, MaxSimScorer(Tokens.open(artifact), encoder.device))

    def run(self, batch: Batch, state: MaxSimState) -> Rankings:
        """Rerank the upstream's documents, or search all."""
        queries = batch.queries
        wanted = self.query_special_tokens
        special = state.encoder.multi_vector if wanted is None else wanted
        tokens = state.encoder.tokens(queries.text, "query", special=special)
        if batch.upstream:
            return rerank(
                batch.rankings, self.depth, lambda query, docs: state.scorer.rescore(tokens[query], docs)
            )
        found = state.scorer.search(tokens, self.k + queries.max_excluded)
        return found.without(queries.exclude).top(self.k)
