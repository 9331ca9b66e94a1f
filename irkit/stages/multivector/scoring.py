"""MaxSim: the score of a query and a document from their token vectors, the same number on every machine.

Score(q, d) = sum over query tokens i of max over document tokens j of <q_i, d_j> (Khattab and Zaharia 2020, "ColBERT", eq. 3).

Nothing is padded with zeros: a padded token that scores 0 would beat real, negative similarities. Where
documents of unequal length share a block, a shorter one repeats its own first token, which changes no
maximum.

Floating-point sums depend on the order of addition, and so on block sizes and threads. Here they do not:
document vectors are float16, that is multiples of 2^-24; query vectors are rounded to multiples of 2^-20 (an
error of at most 2^-21 a coordinate); so all products are multiples of 2^-44. By the Cauchy-Schwarz
inequality no partial sum of a dot product of unit vectors exceeds 1 + 2^-9, and no score of up to 255 query
tokens exceeds 2^8: every intermediate result has at most 53 bits and float64 holds it exactly, in any order.
The score is rounded once, to float32. For vectors that are not of unit length, or longer queries, the
float64 sums may differ in their last bits between block sizes; after rounding to float32 that shows in about
one score in ten million.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.models.ragged import Ragged
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.vector_index import best

_GRID = 2.0**20
_TOKENS = 1 << 14
"""Document tokens in a block."""
_CELLS = 1 << 24
"""Similarities in a block: 64 MB in float32."""


class MaxSimScorer:
    """Scores queries against documents' token vectors.

    A document without tokens gets the least score a document can get: ``-longest`` for every query token,
    where ``longest`` is the greatest norm of a token vector (1 for unit vectors).
    """

    def __init__(self, tokens: Tokens, device: str = "cpu", block: int = _TOKENS) -> None:
        """Open the scorer.

        Args:
            tokens: the documents.
            device: the torch device that computes; one without float64 (MPS) leaves the exact part to the
                CPU.
            block: document tokens in a block; changes no result.
        """
        self._tokens = tokens
        self._device = device
        self._exact_device = "cpu" if device.startswith("mps") else device
        self._block = block

    def rescore(self, query: NDArray[np.float32], docs: CodeArray) -> ScoreArray:
        """Return the exact scores of one query (``float32[Tq, dim]``) and some documents, ``float32[len(docs)]``."""
        import torch

        out = np.full(len(docs), self._floor(len(query)), np.float64)
        asked = torch.from_numpy(_on_grid(query)).to(self._exact_device)
        for at, vectors in self._blocks(docs, self._block):
            block = torch.from_numpy(vectors).to(self._exact_device).double()
            out[at] = _maxima(asked, block).sum(dim=0).cpu().numpy()
        return out.astype(np.float32)

    def search(self, queries: Ragged, depth: int) -> Rankings:
        """Return exactly the best ``depth`` documents of every query, looking at every document.

        A float32 pass finds the documents that can be among the best, by its error bound; these are rescored
        exactly.
        """
        total = len(self._tokens)
        depth = min(depth, total)
        if depth == 0:
            return Rankings.empty(len(queries.offsets) - 1)
        codes, scores = [], []
        for query, near in self._approximate(queries):
            threshold = np.partition(near, total - depth)[total - depth] - 2.0 * self._error(query)
            there = np.flatnonzero(near >= threshold)
            found, exact = best(there, self.rescore(query, there.astype(np.int32)), depth)
            codes.append(found)
            scores.append(exact)
        return Rankings.from_lists(codes, scores)

    # -- inside --------------------------------------------------------------------------------------------

    def _approximate(self, queries: Ragged) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield each query and its float32 scores of all documents. Some queries at a time share a pass over the documents."""
        import torch

        total = len(self._tokens)
        docs = np.arange(total, dtype=np.int32)
        for first, last in _groups(
            queries.offsets, max(1, _CELLS // self._block), max(1, (1 << 26) // max(1, total))
        ):
            start, stop = queries.offsets[first], queries.offsets[last]
            lengths = np.diff(queries.offsets[first : last + 1])
            asked = torch.from_numpy(queries.vectors[start:stop]).to(self._device)
            member = torch.from_numpy(np.repeat(np.arange(last - first), lengths)).to(self._device)
            scores = np.repeat(self._floor(lengths)[:, None], total, axis=1).astype(np.float32)
            for at, vectors in self._blocks(docs, self._block):
                maxima = _maxima(asked, torch.from_numpy(vectors).to(self._device).float())
                sums = torch.zeros((last - first, len(at)), device=self._device).index_add_(0, member, maxima)
                scores[:, at] = sums.cpu().numpy()
            for row in range(last - first):
                yield queries[first + row], scores[row]

    def _blocks(self, docs: CodeArray, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Yield positions in ``docs`` and their vectors ``float16[B, L, dim]``; documents of similar length go together."""
        lengths = self._tokens.lengths[docs]
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        start = 0
        while start < len(order):
            stop = start + max(1, size // int(lengths[order[start]]))
            while (
                stop > start + 1
                and (min(stop, len(order)) - start) * lengths[order[min(stop, len(order)) - 1]] > size
            ):
                stop = start + max(1, (min(stop, len(order)) - start) * 3 // 4)
            at = order[start:stop]
            column = np.arange(lengths[at[-1]])
            rows = self._tokens.offsets[docs[at]][:, None] + np.where(
                column < lengths[at][:, None], column, 0
            )
            yield at, self._tokens.take(rows)
            start = stop

    def _floor(self, query_tokens: Any) -> Any:
        return -self._tokens.longest * np.asarray(query_tokens, dtype=np.float64)

    def _error(self, query: NDArray[np.float32]) -> float:
        """Bound the error of a float32 score: of each dot product, of their sum, and of putting the query on
        the grid.

        gamma_n = n u / (1 - n u) bounds a sum of n products in any order (Higham 2002, section 3.1); twice for its own rounding.
        """
        steps = (query.shape[1] + len(query) + 4) * 2.0**-24
        norms = np.sqrt(np.square(query, dtype=np.float64).sum(axis=1)).sum()
        grid = len(query) * 0.5 / _GRID * query.shape[1] ** 0.5
        return float(2.0 * self._tokens.longest * (norms * steps / (1.0 - steps) + grid))


def _on_grid(query: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.round(query.astype(np.float64) * _GRID) / _GRID


def _maxima(query: Any, block: Any) -> Any:
    """Return for every query token (``[Tq, dim]``) and document (``[B, L, dim]``) the greatest dot product, ``[Tq, B]``."""
    documents, length, dim = block.shape
    return (query @ block.reshape(-1, dim).T).reshape(len(query), documents, length).amax(dim=2)


def _groups(offsets: NDArray[np.int64], tokens: int, queries: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries with at most so many tokens (but at least one query) and so many queries."""
    first, total = 0, len(offsets) - 1
    while first < total:
        fitting = int(np.searchsorted(offsets, offsets[first] + tokens, side="right")) - 1
        last = min(max(fitting, first + 1), first + queries, total)
        yield first, last
        first = last
