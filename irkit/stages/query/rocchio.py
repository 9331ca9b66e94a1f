"""Rocchio: the query moved towards its first documents, and away from its last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, NonNegativeInt, PositiveInt, model_validator

from irkit.core.rankings import CodeArray, ScoreArray
from irkit.pipeline.options import OptionError
from irkit.stages.forms import Weights
from irkit.stages.query.lexical import (
    LexicalFeedback,
    State,
    bag,
    best,
    l2,
    named,
    scaled,
    summed,
    uncommon,
    vector,
)

if TYPE_CHECKING:
    from irkit.models.lucene.forward import ForwardIndex


_NEGATIVE = ("gamma", "bottom_fb_docs", "bottom_fb_terms")


class Rocchio(LexicalFeedback):
    """Expand a query by Rocchio's formula (1971) as Anserini's ``RocchioReranker`` computes it.

    A document is the vector of its counts, scaled to length 1, of terms of 2 to 20 characters that are in at most a tenth of all
    documents. D is the mean of the first ``fb_docs``, of which the best ``fb_terms`` terms are kept and scaled to length 1; N is
    the same of the ``bottom_fb_docs`` last documents of the ranking, with ``use_negative``. The query becomes

        alpha q / |q| + beta D - gamma N

    without the terms that are then not above zero. Scores of documents are not read, so any stage may come before it."""

    fb_docs: NonNegativeInt = Field(
        10, validation_alias=AliasChoices("fb_docs", "top_fb_docs"), description="How many are believed."
    )
    fb_terms: PositiveInt = Field(
        10, validation_alias=AliasChoices("fb_terms", "top_fb_terms"), description="Terms added to the query."
    )
    bottom_fb_docs: NonNegativeInt = Field(
        10, description="How many of the last documents are taken for bad."
    )
    bottom_fb_terms: PositiveInt = Field(10, description="Terms of theirs that are subtracted.")
    alpha: float = Field(1.0, ge=0, allow_inf_nan=False, description="Weight of the query.")
    beta: float = Field(0.75, ge=0, allow_inf_nan=False, description="Weight of the first documents.")
    gamma: float = Field(0.15, ge=0, allow_inf_nan=False, description="Weight of the last documents.")
    use_negative: bool = Field(False, description="Move away from the last documents; Anserini does not.")

    @model_validator(mode="after")
    def _last_documents_are_used(self) -> Self:
        fields = type(self).model_fields
        strange = [name for name in _NEGATIVE if getattr(self, name) != fields[name].default]
        if strange and not self.use_negative:
            raise OptionError(
                f"{strange[0]} is about the last documents, which are not used", "add use_negative: true"
            )
        return self

    def usable(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """Return which terms may be taken from documents, ``bool[V]``."""
        from irkit.models.lucene.forward import LONG, SHORT

        return np.asarray((index.kinds & (SHORT | LONG) == 0) & uncommon(index))

    def expand(
        self, query: Weights, docs: CodeArray, scores: ScoreArray, state: State
    ) -> dict[str, float] | None:
        """Return the moved query; None where no term is left."""
        terms, counts = vector(query)
        own = dict(zip(terms, scaled(counts, l2(counts)), strict=True))
        good = self._mean(docs[: self.fb_docs], self.fb_terms, state)
        last = docs[::-1][: self.bottom_fb_docs] if self.use_negative else docs[:0]
        bad = self._mean(last, self.bottom_fb_terms, state)
        alpha, beta, gamma = (np.float32(each) for each in (self.alpha, self.beta, self.gamma))
        none = np.float32(0)
        moved = {
            term: alpha * own.get(term, none) + beta * good.get(term, none) - gamma * bad.get(term, none)
            for term in own | good | bad
        }
        return {term: float(weight) for term, weight in moved.items() if weight > 0} or None

    @staticmethod
    def _mean(docs: CodeArray, terms: int, state: State) -> dict[str, np.float32]:
        if not len(docs):
            return {}
        parts = []
        for code in docs.tolist():
            ids, tf = bag(state.forward, code, state.usable)
            parts.append((ids, tf / np.float32(l2(tf)) if len(ids) else tf))
        ids, total = summed(parts)
        ids, values = best(ids, total / np.float32(len(docs)), terms)
        return named(state.forward, ids, scaled(values, l2(values)))
