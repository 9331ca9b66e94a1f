"""MUVERA: multi-vector retrieval by one vector a document, reranked by MaxSim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Retriever
from irkit.stages.multivector.carving import carve_all
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder
from irkit.stages.multivector.options import LateInteraction
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.rerank.depth import rerank
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder
    from irkit.stages.multivector.fde_index import FdeIndex
    from irkit.stages.multivector.scoring import MaxSimScorer


@dataclass(frozen=True)
class MuveraState:
    """What ``prepare`` opens: the encoder for the queries, the documents' tokens, the index over their encodings, the scorer."""

    encoder: TextEncoder
    tokens: Tokens
    index: FdeIndex
    scorer: MaxSimScorer


class Muvera(Retriever, LateInteraction, FdeConfig):
    """Retrieve by fixed-dimensional encodings of token vectors, then rerank by exact MaxSim (arXiv 2405.19504).

    With ``rerank: false`` the score is the estimate itself, <query encoding, document encoding> / repetitions. Reranked documents
    have MaxSim's scores, and what ``k`` asks for beyond them follows with the estimates, moved below these as a whole, so that
    the scores can be fused with others. See
    :class:`~irkit.stages.multivector.fde.FdeEncoder` for what may differ between machines.
    """

    cache_version: ClassVar[int] = 2
    chunk: ClassVar[int] = 256

    index: Literal["flat", "pq"] = "flat"
    """``flat`` multiplies all encodings, in float16; ``pq`` is 32 times smaller and faster from some ten thousand documents on,
    and wants more ``candidates``: twice as many find as much."""
    candidates: PositiveInt = 200
    """How many documents are reranked."""
    rerank: bool = True
    """Give the candidates their exact MaxSim."""
    carve: float | None = Field(default=None, gt=0.0, le=1.0)
    """Rerank with fewer query vectors: tokens whose cosine is at least this, such as 0.7, are added up."""

    @model_validator(mode="after")
    def _options_of_reranking_rerank(self) -> Self:
        given = {"carve": self.carve, "candidates": self.candidates}
        idle = [name for name, value in given.items() if value != type(self).model_fields[name].default]
        if idle and not self.rerank:
            names = " and ".join(idle)
            raise ValueError(
                f"{names}: nothing is reranked with rerank: false; leave {names} out, or give rerank: true"
            )
        return self

    @model_validator(mode="after")
    def _pq_divides(self) -> Self:
        from irkit.stages.multivector.fde_index import pq_misfit

        dim = self.d_proj or self.tokens.dim
        if self.index == "pq" and (dim or self.final_dim) and (misfit := pq_misfit(self.size(dim or 1))):
            raise ValueError("; ".join(misfit))
        return self

    @property
    def fde(self) -> FdeConfig:
        """The options of the encodings."""
        return FdeConfig(**self.model_dump(include=set(FdeConfig.model_fields)))

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        from irkit.stages.multivector.fde_index import index_spec

        return {**self.encoder_identity(context), **index_spec(self.index)}

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of the documents' token vectors and of the index over their encodings."""
        tokens = self.token_recipes(context)
        return [*tokens, self._index(tokens[-1])]

    def prepare(self, context: Context) -> MuveraState:
        """Load the model; encode the documents and build the index where the store lacks them.

        Raises:
            ModelError: when the model cannot be loaded or is no encoder.
            ConfigError: when the index does not fit the documents.
            DependencyError: when the index needs faiss and it is missing.
        """
        from irkit.stages.multivector.fde_index import FlatFde, PqFde, build_fde, check_documents, check_size
        from irkit.stages.multivector.scoring import MaxSimScorer

        check_documents(self.index, len(context.collection.docs))  # before hours of encoding
        encoder = self.load_encoder(context)
        check_size(self.index, self.fde, self.tokens.dim or encoder.token_dim)
        tokens = self.open_tokens(context, encoder)
        fde = FdeEncoder(self.fde, tokens.dim)
        kept = context.artifact(
            self._index(self.token_recipes(context)[-1]),
            lambda build: build_fde(build, context, tokens, fde, self.index, encoder.device),
        )
        threads = context.runtime.threads
        index = (
            FlatFde(kept.file("encodings.npy"), fde, threads)
            if self.index == "flat"
            else PqFde(kept.file("index.faiss"), fde)
        )
        context.notes["index"] = f"{self.index}, encodings of {fde.size} dimensions"
        return MuveraState(encoder, tokens, index, MaxSimScorer(tokens, encoder.device, threads))

    def search(self, queries: Queries, depth: int, state: MuveraState) -> Rankings:
        """Return the best ``depth`` documents of every query; those that a query excludes are reranked on top of ``candidates``."""
        tokens = self.asked_tokens(state.encoder, state.tokens, queries)
        if not self.rerank:
            return state.index.search(tokens, depth)
        first = self.candidates + depth - self.k
        found = state.index.search(tokens, max(depth, first))
        asked = tokens if self.carve is None else carve_all(tokens, self.carve)
        best = found.top(first)
        scores = state.scorer.rescore_all(asked, best)
        bounds = best.offsets
        return rerank(found, first, lambda query, _: scores[bounds[query] : bounds[query + 1]]).top(depth)

    def _index(self, tokens: Recipe) -> Recipe:
        from irkit.stages.multivector.fde_index import index_spec

        return Recipe(
            "fde", {"tokens": tokens.key, **self.fde.model_dump(mode="json"), **index_spec(self.index)}
        )
