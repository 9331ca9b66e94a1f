"""Axiomatic semantic matching: terms that share documents with the query's terms."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, NonNegativeInt, PositiveInt

from irkit.core.rankings import CodeArray, ScoreArray
from irkit.stages.forms import Weights
from irkit.stages.query.java import place, random_below
from irkit.stages.query.lexical import LexicalFeedback, State

if TYPE_CHECKING:
    from irkit.models.lucene.forward import ForwardIndex

Doubles = NDArray[np.float64]
_LEAST = 1e-8


class Axiomatic(LexicalFeedback):
    """Expand a query by axiomatic semantic matching (Fang and Zhai, SIGIR 2006; Yang and Lin, ECIR 2019) as Anserini's
    ``AxiomReranker`` computes it.

    The pool is the first R = ``fb_docs`` documents and (``n`` - 1) R others, drawn with ``seed`` as ``java.util.Random`` draws them
    from all documents by id, the same for every query; a collection of no more than ``n`` R documents is the pool. With I(q, t) the
    mutual information of having q and having t in the pool, a term t of two or more letters a-z is worth for a term q of the query

        idf(q) qtf(q)                          to itself
        beta idf(q) qtf(q) I(q, t) / I(q, q)   otherwise,   idf(q) = ln floor((N + 1) / df(q))

    Of each q, the best half of the pool's terms counts, and no more than ``k``; their sums over q, divided by the number of the
    query's terms, weigh the terms of the new query: the best half, and no more than ``top``. (The halves are Anserini's: it counts
    up while its queue runs down.) A term of the query with a digit, or in every document of the pool or in none, is lost. Scores of
    documents are not read. Anserini draws other documents in every run unless it is told ``-axiom.deterministic``."""

    fb_docs: NonNegativeInt = Field(
        20, validation_alias=AliasChoices("fb_docs", "r"), description="How many are believed: R."
    )
    n: PositiveInt = Field(30, description="The pool is so many times as large.")
    k: PositiveInt = Field(1000, description="Terms that count for each term of the query.")
    top: PositiveInt = Field(20, description="Terms of the new query: M.")
    beta: float = Field(0.4, ge=0, allow_inf_nan=False, description="Weight of other terms than the query's.")
    seed: int = Field(42, description="Of the documents drawn.")

    def usable(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """Return which terms may be taken from documents, ``bool[V]``."""
        from irkit.models.lucene.forward import LETTERS, SHORT

        return np.asarray(index.kinds & (LETTERS | SHORT) == LETTERS)

    def expand(
        self, query: Weights, docs: CodeArray, scores: ScoreArray, state: State
    ) -> dict[str, float] | None:
        """Return the new query; None where no term of the query is in the pool."""
        index = state.forward
        bags = []
        for code in self._pool(docs[: self.fb_docs].tolist(), len(index)):
            ids = index[code][0]
            ids = ids[state.usable[ids]]
            if len(ids):
                bags.append(ids)
        if not bags:
            return None
        ids, column = np.unique(np.concatenate(bags), return_inverse=True)
        row = np.repeat(np.arange(len(bags)), [len(each) for each in bags])
        inside = np.bincount(column, minlength=len(ids))
        total = np.zeros(len(ids))
        for term in sorted(query, key=lambda each: place(each, len(query))):
            number = index.number(term)
            at = int(np.searchsorted(ids, number)) if number is not None else len(ids)
            if at == len(ids) or ids[at] != number:
                continue
            idf = np.float32(np.log((1 + len(index)) // int(index.df[number])))
            having = np.zeros(len(bags), bool)
            having[row[column == at]] = True
            both = np.bincount(column[having[row]], minlength=len(ids))
            information = _information(inside[at], inside, both, len(bags))
            qtf = np.float32(query[term])
            with np.errstate(invalid="ignore"):  # a term of every document tells nothing, not even of itself
                worth = float(idf * np.float32(self.beta) * qtf) * information / information[at]
            worth[at] = idf * qtf
            kept = _first_half(worth, max(self.top, self.k))
            kept = kept[worth[kept] > _LEAST]
            total[kept] += worth[kept]
        rows = np.flatnonzero(total)
        rows = rows[_first_half(total[rows], self.top)]
        weights = total[rows] / sum(query.values())
        return dict(zip(index.terms.many(ids[rows]), weights.tolist(), strict=True)) or None

    def _pool(self, first: list[int], documents: int) -> list[int]:
        size = self.fb_docs * self.n
        if documents <= size:
            return list(range(documents))
        pool = dict.fromkeys(first)
        drawn = random_below(self.seed, documents)
        while len(pool) < size:
            pool.update(dict.fromkeys(islice(drawn, size - len(pool))))
        return list(pool)


def _information(x: int, y: NDArray[np.int64], both: NDArray[np.int64], documents: int) -> Doubles:
    """Return the mutual information of one term with every term: ``float64[n]``, from probabilities in float32 as in Anserini.

    Args:
        x: how many documents have the one.
        y: how many have each of the others, ``int64[n]``.
        both: how many have both.
        documents: how many there are.
    """

    def share(count: NDArray[np.int64] | int) -> NDArray[np.float32]:
        return np.asarray(count, np.float32) / np.float32(documents)

    result = np.zeros(len(y))
    if x == documents:
        return result
    with_x, with_y = (share(documents - x), share(x)), (share(documents - y), share(y))
    for i, j, count in (
        (0, 0, documents - x - y + both),
        (1, 0, x - both),
        (0, 1, y - both),
        (1, 1, both),
    ):
        joint = share(count)
        some = count > 0
        ratio = (joint[some] / (with_x[i] * with_y[j][some])).astype(np.float64)
        result[some] += joint[some] * np.log(ratio)
    result[y == documents] = 0
    return result


def _first_half(values: Doubles, most: int) -> NDArray[np.int64]:
    """Return the rows of the better half of the values, and no more than ``most``, best first; what is not a number is best."""
    order = np.argsort(-np.where(np.isnan(values), np.inf, values), kind="stable")
    return order[: min((len(order) + 1) // 2, most)]
