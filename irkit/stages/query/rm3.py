"""RM3: a relevance model of the first documents, mixed with the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from irkit.core.errors import DataError
from irkit.core.rankings import CodeArray, ScoreArray
from irkit.stages.forms import Weights
from irkit.stages.query.lexical import (
    Floats,
    LexicalFeedback,
    State,
    bag,
    best,
    l1,
    named,
    scaled,
    summed,
    uncommon,
    vector,
)

if TYPE_CHECKING:
    from irkit.models.lucene.forward import ForwardIndex


class RM3(LexicalFeedback):
    """Expand a query by RM3 (Abdul-Jaleel et al., TREC 2004) as Anserini's ``Rm3Reranker`` computes it.

    Of each of the first ``fb_docs`` documents d, only its ``fb_terms`` most frequent terms count, tf' being their counts: terms of
    2 to 20 characters a-z and 0-9 that are in at most a tenth of all documents. With s_d the document's score as it is,

        r(t) = sum_d s_d tf'(t, d) / sum_u tf'(u, d)

    of which the best ``fb_terms`` are kept and scaled to the sum 1, p(t). The query becomes

        l qtf(t) / |q| + (1 - l) p(t),   l = ``original_query_weight``

    A score below zero is no weight of a document: choose another ``weight`` for stages with such scores."""

    fb_terms: PositiveInt = Field(10, description="Terms taken of a document, and added to the query.")
    original_query_weight: float = Field(0.5, ge=0, le=1, description="How much of the query stays.")
    filter_terms: bool = Field(True, description="Take terms of a-z and 0-9 only; false for other scripts.")
    weight: Literal["score", "softmax", "equal"] = Field(
        "score", description="What a document counts: its score as it is (Anserini), its softmax, or 1."
    )

    def usable(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """Return which terms may be taken from documents, ``bool[V]``."""
        from irkit.models.lucene.forward import LONG, PLAIN, SHORT

        plain = index.kinds & PLAIN > 0 if self.filter_terms else True
        return np.asarray((index.kinds & (SHORT | LONG) == 0) & plain & uncommon(index))

    def expand(
        self, query: Weights, docs: CodeArray, scores: ScoreArray, state: State
    ) -> dict[str, float] | None:
        """Return the mixed query; None where all documents together weigh nothing.

        Raises:
            DataError: when a document's score, used as its weight, is below zero.
        """
        codes, weights = docs[: self.fb_docs].tolist(), self._weights(scores[: self.fb_docs])
        if not weights.any():
            return None
        parts = []
        for code, weight in zip(codes, weights, strict=True):
            ids, tf = best(*bag(state.forward, code, state.usable), self.fb_terms)
            parts.append((ids, tf / np.float32(l1(tf)) * weight if len(ids) else tf))
        ids, values = best(*summed(parts), self.fb_terms)
        model = named(state.forward, ids, scaled(values, l1(values)))
        terms, counts = vector(query)
        own = dict(zip(terms, scaled(counts, l1(counts)), strict=True))
        rest, part = (
            1.0 - float(np.float32(self.original_query_weight)),
            np.float32(self.original_query_weight),
        )
        none = np.float32(0)
        return {
            term: float(np.float32(float(part * own.get(term, none)) + rest * float(model.get(term, none))))
            for term in own | model
        }

    def _weights(self, scores: ScoreArray) -> Floats:
        if self.weight == "equal":
            return np.ones(len(scores), np.float32)
        if self.weight == "softmax":
            shares = np.exp(scores.astype(np.float64) - float(scores[0]))
            return np.asarray(shares / shares.sum(), np.float32)
        if scores[-1] < 0:
            hint = "say weight: softmax or weight: equal, or take its feedback from a stage whose scores are not negative"
            raise DataError.of(
                f"rm3 weighs documents by their scores, and one is {scores[-1]:.4g}", where="rm3", hint=hint
            )
        return np.asarray(scores)
