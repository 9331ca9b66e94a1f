"""Pseudo-relevance feedback for dense retrieval: a query's vector moves towards those of its first documents.

Average and Rocchio: Li, Mourad, Zhuang, Koopman and Zuccon, "Pseudo Relevance Feedback with Deep Language Models and Dense
Retrievers: Successes and Pitfalls", TOIS 2023 (arXiv 2108.11044), as Pyserini computes them
(``DenseVectorAveragePrf``, ``DenseVectorRocchioPrf``). ANCE-PRF: Yu, Xiong and Callan, CIKM 2021 (arXiv 2108.13454).

    average    q' = mean of q, d_1, ..., d_k
    rocchio    q' = alpha q + beta mean(d_1, ..., d_k) - gamma mean(the last documents of the ranking)
    ance-prf   q' = what a checkpoint makes of the text [CLS] q [SEP] d_1 [SEP] ... d_k [SEP]

Neither of the first two is brought back to length 1: that would move no ranking. What is believed is the ranking of
the stage before, whichever it is; the vectors are those of the index that ``dense`` searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from irkit.core.errors import ModelError
from irkit.core.queries import Queries
from irkit.models.resolve import identify, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import Batch
from irkit.stages.forms import VECTOR, told, with_vectors
from irkit.stages.query.feedback import FeedbackStage
from irkit.stages.query.vectors import VectorOptions, VectorSpace, cosine
from irkit.stages.sentence_vectors import open_vectors, scaled, vectors_recipe
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder, Vectors

_ROCCHIO = ("alpha", "beta", "gamma", "bottom")


@dataclass(frozen=True)
class VectorPrfState:
    """What ``prepare`` opens: the documents' vectors, or the checkpoint that reads their texts."""

    context: Context
    space: VectorSpace
    documents: Vectors | None
    checkpoint: Encoder | None


class VectorPrf(VectorOptions, FeedbackStage):
    """Move a query's vector towards those of the first documents of the stage before.

    Weights and numbers are by default those of Pyserini's command line, so that the same options give the same run. Its default
    method is the average; here it is Rocchio, which with 0.9 and 0.1 stays near the query: the average of 4 vectors moves
    it so far that it costs more than it brings where few documents are relevant. So does the paper's Rocchio on ANCE,
    ``fb_docs: 5, alpha: 0.4, beta: 0.6``.
    """

    cache_version: ClassVar[int] = 2

    method: Literal["average", "rocchio", "ance-prf"] = "rocchio"
    fb_docs: NonNegativeInt = 3
    """How many of the first documents are believed (Pyserini's topk); 0 leaves the query as it is."""
    alpha: float = Field(default=0.9, ge=0, allow_inf_nan=False)
    """Rocchio: the weight of the query."""
    beta: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Rocchio: the weight of the mean of the first documents."""
    gamma: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Rocchio: the weight of the mean of the last documents, which is taken off; counts once ``bottom`` is given."""
    bottom: NonNegativeInt = 0
    """Rocchio: how many of the last documents of the ranking are taken for irrelevant (Pyserini's bottomk). The ranking is as long
    as the stage before makes it, its ``k``; Pyserini's ends at ``--prf-depth``: for the same run, give both the same number."""
    checkpoint: str | None = None
    """ANCE-PRF: the encoder of queries with feedback, in sentence-transformers' format. Each is trained for one ``fb_docs``: the
    published one for 3. It reads the query's text: a vector that a stage before gave the query stays only where the feedback is not
    believed."""

    @model_validator(mode="after")
    def _options_belong_to_the_method(self) -> Self:
        fields = type(self).model_fields
        strange = [name for name in _ROCCHIO if getattr(self, name) != fields[name].default]
        if self.method != "rocchio" and strange:
            raise ValueError(f"{strange[0]} belongs to method: rocchio")
        if self.gamma not in (0, fields["gamma"].default) and not self.bottom:
            message = "gamma weighs the last documents, and none are taken"
            raise OptionError(message, "say how many: bottom: 5; or leave gamma out")
        if (self.method == "ance-prf") != (self.checkpoint is not None):
            raise ValueError("method: ance-prf and checkpoint go together")
        return self

    def declines(self, form: str) -> str | None:
        """Return ``method: ance-prf``, which reads texts, and makes its vector of them."""
        return "method: ance-prf" if self.checkpoint and form == VECTOR else None

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the fingerprints of the model and of the checkpoint, and the libraries' versions."""
        more = {"checkpoint": identify(self.checkpoint, context.workspace)} if self.checkpoint else {}
        return {**super().identity(context), **more}

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipe of the documents' vectors; ANCE-PRF reads their texts."""
        return [] if self.checkpoint else [vectors_recipe(self, context, self.similarity)]

    def prepare(self, context: Context) -> VectorPrfState:
        """Load the models; encode the documents where the store lacks their vectors.

        Raises:
            ModelError: when a model cannot be loaded or is no encoder, or the checkpoint's vectors do not fit the index.
        """
        encoder = self.load_encoder(context)
        space = self.space(context, encoder)
        if self.checkpoint is None:
            return VectorPrfState(context, space, open_vectors(self, context, encoder, self.similarity), None)
        checkpoint = self._load_checkpoint(self.checkpoint, context)
        if checkpoint.dim != encoder.dim:
            message = (
                f"the checkpoint gives vectors of {checkpoint.dim} dimensions, the index has {encoder.dim}"
            )
            hint = f"take the checkpoint that was trained for {self.model}"
            raise ModelError.of(message, where=self.checkpoint, hint=hint)
        return VectorPrfState(context, space, None, checkpoint)

    def run(self, batch: Batch, state: VectorPrfState) -> Queries:
        """Give every query its new vector."""
        queries, rankings = batch.queries, batch.rankings
        before = state.space.of(queries)
        after = before.copy()
        believed = self.believed(rankings, state.context)
        rows, lines = np.flatnonzero(believed).tolist(), self.kept("vector-prf", rankings, believed)
        ranked = [rankings[row][0] for row in rows]
        if state.checkpoint is not None:
            texts = [queries.text[row] for row in rows]
            after[rows] = self._encoded(texts, ranked, state, state.checkpoint)
        elif state.documents is not None:
            for row, codes in zip(rows, ranked, strict=True):
                after[row] = self.moved(before[row], state.documents, codes)
        for row, codes in zip(rows, ranked, strict=True):
            count = min(self.fb_docs, len(codes))
            lines[row] = (
                f"vector-prf: {count} documents, cosine to the query {cosine(before[row], after[row]):.2f}"
            )
        return told(with_vectors(queries, after, state.space.key), lines)

    def moved(self, query: Vectors, documents: Vectors, codes: NDArray[np.int32]) -> Vectors:
        """Return a query's new vector, ``float32[dim]``: computed in float64, rounded once.

        Args:
            query: its vector so far.
            documents: ``float32[N, dim]``, by code.
            codes: of its documents, best first, at least one.
        """
        wide = query.astype(np.float64)
        top = documents[codes[: self.fb_docs]].astype(np.float64)
        if self.method == "average":
            mean: Vectors = np.concatenate([wide[None], top]).mean(axis=0).astype(np.float32)
            return mean
        made = self.alpha * wide
        if self.beta:  # a weight of 0 leaves the bits alone: even -0.0 + 0.0 would not
            made = made + self.beta * top.mean(axis=0)
        if self.gamma and self.bottom:
            made = made - self.gamma * documents[codes[-self.bottom :]].astype(np.float64).mean(axis=0)
        moved: Vectors = made.astype(np.float32)
        return moved

    def _encoded(
        self, texts: list[str], ranked: list[NDArray[np.int32]], state: VectorPrfState, checkpoint: Encoder
    ) -> Vectors:
        """Return what the checkpoint makes of queries with the texts of their documents, ``float32[n, dim]``.

        The tokeniser puts its [CLS] before and its [SEP] behind the whole, and cuts it at the model's length, as Pyserini does;
        where it cuts, Pyserini loses the last [SEP], and the tokeniser keeps it.
        """
        docs = state.context.collection.docs
        fed = [[text, *docs.texts(codes[: self.fb_docs])] for text, codes in zip(texts, ranked, strict=True)]
        joined = [checkpoint.separator.join(parts) for parts in fed]
        return scaled(checkpoint.vectors(joined, "query"), state.space.cosine)

    def _load_checkpoint(self, name: str, context: Context) -> Encoder:
        from irkit.models.encoder import Encoder

        return Encoder(
            resolve(name, context.workspace),
            dtype=self.dtype,
            trust_remote_code=self.trust_remote_code,
            device=self.device or context.runtime.device,
            batch_size=self.batch_size,
            threads=context.runtime.threads,
        )
