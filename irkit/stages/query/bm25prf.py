"""BM25PRF: terms by how much more of the first documents have them than of all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from irkit.core.rankings import CodeArray, ScoreArray
from irkit.stages.forms import Weights
from irkit.stages.query.java import place
from irkit.stages.query.lexical import LexicalFeedback, State

if TYPE_CHECKING:
    from irkit.models.lucene.forward import ForwardIndex, Ids

_LEAST = 1e-6


class BM25PRF(LexicalFeedback):
    """Expand a query by relevance weights (Robertson and Zaragoza, 2009) as Anserini's ``BM25PrfReranker`` computes it.

    Of the R = ``fb_docs`` first documents, r have the term; of all N, df:

        rw(t) = ln((r + 0.5) (N - df - R + r + 0.5) / ((df - r + 0.5) (R - r + 0.5)))

    New terms are of 2 to 20 characters a-z and 0-9, not a number, and in two of the R documents; the ``fb_terms`` of the highest
    offer weight rw(t) ln r (Sakai and Robertson, 2002) are added with ``new_term_weight`` rw(t), the query's own terms with rw(t),
    each once; a weight is at least 1e-6. Equal offer weights stand in the order in which Java's HashMap gives them.

    rw takes the place of BM25's idf: the weights given are rw(t) / idf(t), for the ``bm25`` stage after it, whose ``k1`` and ``b``
    are what Anserini calls BM25PRF's, multiplies by idf. Scores of documents are not read."""

    fb_terms: PositiveInt = Field(20, description="Terms added to the query.")
    new_term_weight: float = Field(
        0.2, ge=0, allow_inf_nan=False, description="Their weight; 1 for the query's."
    )

    def usable(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """Return which terms may be taken from documents, ``bool[V]``."""
        from irkit.models.lucene.forward import DIGITS, LONG, PLAIN, SHORT

        return np.asarray(index.kinds & (SHORT | LONG | PLAIN | DIGITS) == PLAIN)

    def expand(
        self, query: Weights, docs: CodeArray, scores: ScoreArray, state: State
    ) -> dict[str, float] | None:
        """Return the query's terms and the new ones; None where no document has any of them."""
        index = state.forward
        codes = docs[: self.fb_docs].tolist()
        bags = [index[code][0] for code in codes]
        ids, first, inside = np.unique(np.concatenate(bags), return_index=True, return_counts=True)
        weights = _relevance(inside, index.df[ids], len(index), len(codes))
        found = dict(zip(ids.tolist(), weights.tolist(), strict=True))
        own = {term: number for term in query if (number := index.number(term)) is not None}
        new = np.flatnonzero(state.usable[ids] & (inside >= 2) & ~np.isin(ids, list(own.values())))
        added = np.maximum(weights[new] * np.float32(self.new_term_weight), _LEAST)
        offers = (added * np.log(inside[new])).astype(np.float32)
        if len(new) > self.fb_terms:
            kept = self._best(offers, ids[new], first[new], len(ids), bags, index)
            new, added = new[kept], added[kept]
        expanded = dict(
            zip(index.terms.many(ids[new]), zip(ids[new].tolist(), added.tolist(), strict=True), strict=True)
        )
        for term, number in own.items():
            weight = found.get(number)
            if weight is None:  # in none of the documents
                weight = float(_relevance(np.zeros(1), index.df[[number]], len(index), len(codes))[0])
            expanded[term] = (number, max(weight, _LEAST))
        return {term: weight / _idf(index, number) for term, (number, weight) in expanded.items()} or None

    def _best(
        self,
        offers: NDArray[np.float32],
        ids: Ids,
        first: NDArray[np.int64],
        terms: int,
        bags: list[Ids],
        index: ForwardIndex,
    ) -> list[int]:
        """Return the rows of the highest offers. Where equal ones are cut apart, Java's tables decide: the candidates', which was
        filled from the one of all terms, which was filled from one a document, in the order of terms.
        """
        order = np.argsort(-offers, kind="stable")
        cut = offers[order[self.fb_terms - 1]]
        sure = np.flatnonzero(offers > cut).tolist()
        tied = np.flatnonzero(offers == cut)
        starts = np.cumsum([0, *map(len, bags)])

        def visited(row: int) -> tuple[int, ...]:
            bag = int(np.searchsorted(starts, first[row], side="right")) - 1
            term = index.terms[int(ids[row])]
            return (
                place(term, len(ids)),
                place(term, terms),
                bag,
                place(term, len(bags[bag])),
                int(ids[row]),
            )

        return sure + sorted(tied.tolist(), key=visited)[: self.fb_terms - len(sure)]


def _relevance(inside: NDArray[np.generic], df: NDArray[np.int32], n: int, r: int) -> NDArray[np.float64]:
    """Return rw: how much more likely a relevant document has the term, as a logarithm."""
    some, all_ = np.asarray(inside, np.float64), np.asarray(df, np.float64)
    odds = (some + 0.5) * (n - all_ - r + some + 0.5) / ((all_ - some + 0.5) * (r - some + 0.5))
    return np.asarray(np.log(odds))


def _idf(index: ForwardIndex, number: int) -> float:
    """Return the idf by which Lucene's BM25 multiplies, in float32 as there."""
    df = int(index.df[number])
    return float(np.float32(math.log(1 + (index.filled - df + 0.5) / (df + 0.5))))
