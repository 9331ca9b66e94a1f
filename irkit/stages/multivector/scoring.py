"""MaxSim: the score of a query and a document from their token vectors, the same number on every machine.

Score(q, d) = sum over query tokens i of max over document tokens j of <q_i, d_j> (Khattab and Zaharia 2020, "ColBERT", eq. 3).

Nothing is padded with zeros: a padded token that scores 0 would beat real, negative similarities.

**Found in float32, settled in float64.** Float32 products say which document token wins for each query token. Only the winners'
products are computed in float64, and those of all tokens that the error bound of float32 cannot tell from the winner.

Floating-point sums depend on the order of addition, and so on block sizes and threads. Here they do not:
document vectors are float16, that is multiples of 2^-24; query vectors are rounded to multiples of 2^-20 (an
error of at most 2^-21 a coordinate); so all products are multiples of 2^-44. By the Cauchy-Schwarz
inequality no partial sum of a dot product of unit vectors exceeds 1 + 2^-9, and no score of up to 255 query
tokens exceeds 2^8: every intermediate result has at most 53 bits and float64 holds it exactly, in any order.
The score is rounded once, to float32. For vectors that are not of unit length, or longer queries, sums may round. On the CPU
they are taken in one fixed order, so the score is the same on every machine still; another device may add in another order,
which shows in the last bit of about one float32 score in ten million.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, IntArray, Rankings, ScoreArray, offsets_of
from irkit.models.ragged import Ragged, check_finite, groups
from irkit.stages.multivector.grid import on_grid
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.vector_index import best

_TOGETHER = 1 << 14
"""Query tokens that share a pass over the documents."""
_MARGIN = 4096
"""Candidates beyond twice the depth that are kept before the list is cut."""


class Engine(Protocol):
    """What computes, on one device. Query vectors come on the grid (multiples of 2^-20, in float32).

    A document without tokens scores 0 here, and so does a query without tokens.
    """

    def exact(self, queries: Ragged, offsets: IntArray, docs: CodeArray) -> ScoreArray:
        """Return the exact scores of each query with its documents: query ``q`` owns ``docs[offsets[q]:offsets[q + 1]]``."""
        ...

    def scan(self, queries: Ragged) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield approximate scores of all documents, a few documents at a time, in ascending order.

        Yields:
            the first document's code, and ``float32[Q, n]`` of the n documents from it on, each within
            :func:`score_error` of the exact score.
        """
        ...


class MaxSimScorer:
    """Scores queries against documents' token vectors.

    A document without tokens gets the least score that any document can get, see :func:`floor_of`.
    """

    def __init__(
        self, tokens: Tokens, device: str = "cpu", threads: int = 1, block: int | None = None
    ) -> None:
        """Open the scorer.

        Args:
            tokens: the documents.
            device: the torch device that computes.
            threads: CPU threads, of which each scores documents of its own; changes no result.
            block: document tokens in a block; changes no result.
        """
        self._tokens = tokens
        self._engine = _engine(tokens, device, threads, block)
        self._bare = tokens.lengths == 0

    def rescore(self, query: NDArray[np.float32], docs: CodeArray) -> ScoreArray:
        """Return the exact scores of one query (``float32[Tq, dim]``) and some documents, ``float32[len(docs)]``.

        Raises:
            ValueError: when the query has a number that is not finite.
        """
        one = _snap(Ragged(offsets_of([len(query)]), query))
        return self._exact(one, offsets_of([len(docs)]), docs)

    def rescore_all(self, queries: Ragged, rankings: Rankings) -> ScoreArray:
        """Return the exact score of every hit, ``float32[n]``, aligned with ``rankings.doc``.

        Args:
            queries: as many as the rankings have.
            rankings: the candidates.

        Raises:
            ValueError: when the numbers of queries differ, or a query has a number that is not finite.
        """
        if len(queries) != len(rankings):
            raise ValueError(f"{len(queries)} queries do not fit rankings of {len(rankings)}")
        return self._exact(_snap(queries), rankings.offsets, rankings.doc)

    def search(self, queries: Ragged, depth: int) -> Rankings:
        """Return exactly the best ``depth`` documents of every query, looking at every document.

        One pass in float32 for many queries finds the documents that can be among the best, by its error bound;
        these get their exact scores.

        Raises:
            ValueError: when a query has a number that is not finite.
        """
        depth = min(depth, len(self._tokens))
        if depth == 0:
            return Rankings.empty(len(queries))
        asked = _snap(queries)
        parts = [
            self._search(_part(asked, first, last), depth) for first, last in groups(asked.offsets, _TOGETHER)
        ]
        return Rankings.concat(parts)

    def _search(self, asked: Ragged, depth: int) -> Rankings:
        lists = [
            Shortlist(depth, score_error(asked[number], self._tokens.longest)) for number in range(len(asked))
        ]
        floor = floor_of(asked, self._tokens.longest)
        for first, near in self._engine.scan(asked):
            near[:, self._bare[first : first + near.shape[1]]] = floor[:, None]
            for shortlist, scores in zip(lists, near, strict=True):
                shortlist.add(first, scores)
        docs = [shortlist.documents() for shortlist in lists]
        offsets = offsets_of([len(each) for each in docs])
        scores = self._exact(asked, offsets, np.concatenate(docs))
        found = [
            best(each.astype(np.int64), scores[start:stop], depth)
            for each, start, stop in zip(docs, offsets[:-1], offsets[1:], strict=True)
        ]
        return Rankings.from_lists([codes for codes, _ in found], [values for _, values in found])

    def _exact(self, asked: Ragged, offsets: IntArray, docs: CodeArray) -> ScoreArray:
        scores = self._engine.exact(asked, offsets, docs)
        bare = self._bare[docs]
        if bare.any():
            scores[bare] = np.repeat(floor_of(asked, self._tokens.longest), np.diff(offsets))[bare]
        return scores


class Shortlist:
    """The documents that can be among the best ``depth`` of one query, as far as approximate scores say."""

    def __init__(self, depth: int, error: float) -> None:
        """Start empty.

        Args:
            depth: how many documents are wanted.
            error: how far an approximate score may be from the exact one.
        """
        self._depth, self._error = depth, error
        self._threshold = np.float64(-np.inf)
        self._docs: list[NDArray[np.int64]] = []
        self._near: list[NDArray[np.float32]] = []
        self._size = 0

    def add(self, first: int, near: NDArray[np.float32]) -> None:
        """Look at the documents from the code ``first`` on, with their approximate scores."""
        there = np.flatnonzero(near >= self._threshold)
        self._docs.append(there + first)
        self._near.append(near[there])
        self._size += len(there)
        if self._size > 2 * self._depth + _MARGIN:
            self._cut()

    def documents(self) -> CodeArray:
        """Return the codes, ascending."""
        self._cut()
        return self._docs[0].astype(np.int32)

    def _cut(self) -> None:
        """Drop the documents that are worse than ``depth`` others, however the errors fall."""
        docs, near = np.concatenate(self._docs), np.concatenate(self._near)
        if len(near) > self._depth:
            last = len(near) - self._depth
            self._threshold = np.partition(near, last)[last].astype(np.float64) - 2.0 * self._error
            keep = near >= self._threshold
            docs, near = docs[keep], near[keep]
        self._docs, self._near, self._size = [docs], [near], len(docs)


def norms_of(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean norms of the rows."""
    norms: NDArray[np.float64] = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1))
    return norms


def floor_of(queries: Ragged, longest: float) -> ScoreArray:
    """Return the least score that a document can get from each query, ``float32[Q]``, whatever computes the others.

    By the Cauchy-Schwarz inequality that is minus the sum of the query vectors' norms, times ``longest``, the greatest norm of a
    document's. The sum is rounded once, as if it were exact, and the score once.
    """
    norms = norms_of(queries.vectors)
    sums = [math.fsum(norms[first:last]) for first, last in pairwise(queries.offsets)]
    return (0.0 - longest * np.array(sums, np.float64)).astype(np.float32)


def score_error(query: NDArray[np.float32], longest: float) -> float:
    """Bound the error of an approximate score: of its float32 products, of their sum, and of rounding the exact score.

    gamma_n = n u / (1 - n u) bounds a sum of n products in any order (Higham, Accuracy and Stability of Numerical Algorithms,
    2nd ed., section 3.1); twice for what is calculated with it.
    """
    steps = (query.shape[1] + len(query) + 4) * 2.0**-24
    return float(2.0 * longest * norms_of(query).sum() * steps / (1.0 - steps))


def _engine(tokens: Tokens, device: str, threads: int, block: int | None) -> Engine:
    if device == "cpu":
        from irkit.stages.multivector.maxsim_cpu import CpuEngine

        return CpuEngine(tokens, threads, block)
    from irkit.stages.multivector import maxsim_gpu

    if device.startswith("cuda") and maxsim_gpu.available():
        return maxsim_gpu.CudaEngine(tokens, device, block)
    from irkit.stages.multivector.maxsim_torch import TorchEngine

    return TorchEngine(tokens, device, block)


def _snap(queries: Ragged) -> Ragged:
    """Put query vectors on the grid. Float32 holds it: below 16 by its 24 bits, and from there on its own steps are wider."""
    check_finite(queries)
    return Ragged(queries.offsets, on_grid(queries.vectors).astype(np.float32))


def _part(queries: Ragged, first: int, last: int) -> Ragged:
    start, stop = queries.offsets[first], queries.offsets[last]
    return Ragged(queries.offsets[first : last + 1] - start, queries.vectors[start:stop])
