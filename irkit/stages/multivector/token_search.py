"""XTR's scores by exact token retrieval: the best document tokens of the whole collection for every query token.

Lee et al. 2023, "Rethinking the Role of Token Retrieval in Multi-Vector Retrieval", arXiv 2304.01982. Each query token q_i
retrieves the k' document tokens with the greatest dot products; A_ij = 1 where token j of document D is among them. Then

    f(Q, D) = 1/n sum_i max_j [A_ij <q_i, d_j> + (1 - A_ij) m_i]                                        (section 3.2, inference)
    f(Q, D) = 1/Z sum_i max_j A_ij <q_i, d_j>,  Z = number of i that retrieved a token of D                     (eq. 5, training)

m_i, the missing similarity, is the k'-th score of q_i: what a token that was not retrieved scores at most. Nothing is
looked up after the retrieval. With k' = all tokens the first is MaxSim / n. A document is found when one of its tokens was
retrieved, and its maxima are taken over retrieved tokens only.

Products are found in float32 and settled in float64, where they are exact (see
:mod:`irkit.stages.multivector.scoring`): results do not depend on blocks, batches, threads or device. Of equal products at the
end of the k', the greater row, that is the later document, is retrieved first. With imputation that choice moves no
score, for such a token scores m_i either way; it decides only whether a document without other tokens is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.models.ragged import Ragged, check_finite, groups
from irkit.stages.multivector.grid import on_grid
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.vector_index import best, error_bound

Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]

Normalise = Literal["tokens", "retrieved"]
Impute = Literal["last", "none"]

_BLOCK = 1 << 14
"""Document tokens whose products are computed at a time."""
_CELLS = 1 << 26
"""Products and candidates that are held at a time, of some queries together: 256 MB in float32."""
_MARGIN = 64
"""Candidates beyond k': enough that a second look is rare."""


@dataclass(frozen=True)
class Formula:
    """How the retrieved tokens' scores become a document's.

    Attributes:
        normalise: ``tokens`` divides by n; ``retrieved`` by Z, the query tokens that retrieved a token of the document.
        impute: ``last`` fills in m_i; ``none`` counts 0 for a query token that retrieved none of the document's.
    """

    normalise: Normalise = "tokens"
    impute: Impute = "last"

    def combine(
        self, gains: NDArray[Any], missing: float, hits: NDArray[np.int32], query_tokens: int
    ) -> ScoreArray:
        """Return documents' scores, ``float32[m]``.

        Args:
            gains: the sum, over the query tokens that retrieved one of a document's, of how much its best lies above m_i (0
                without imputation).
            missing: the sum of m_i over all query tokens.
            hits: Z of every document.
            query_tokens: n.
        """
        divisor = hits if self.normalise == "retrieved" else query_tokens
        scores: ScoreArray = ((gains.astype(np.float64) + missing) / divisor).astype(np.float32)
        return scores


def default_k_prime(tokens: int) -> int:
    """Return the default k': the square root of the number of tokens, to the nearest thousand, from 1,000 to 40,000.

    XTR's authors give numbers and no rule: 40,000 in the paper, whose largest collections have 8.8 million passages, and 1,000 in
    their notebook, for a few thousand documents. This rule stays between them: those 8.8 million passages, of some 600 million
    tokens, get 24,000, and 40,000 is reached at 1.6 billion tokens.
    """
    return int(np.clip(round(np.sqrt(tokens) / 1000), 1, 40)) * 1000


def leaders(docs: CodeArray, scores: ScoreArray, depth: int) -> tuple[CodeArray, ScoreArray]:
    """Return the best ``depth`` in the canonical order; only what can be among them is sorted."""
    if len(docs) > depth:
        near = scores >= np.partition(scores, len(scores) - depth)[len(scores) - depth]
        docs, scores = docs[near], scores[near]
    codes, values = best(docs.astype(np.int64), scores, depth)
    return codes.astype(np.int32), values


class TokenSearch:
    """Searches all document tokens, exactly."""

    def __init__(
        self, tokens: Tokens, k_prime: int | None = None, device: str = "cpu", block: int = _BLOCK
    ) -> None:
        """Open the search.

        Args:
            tokens: the documents.
            k_prime: document tokens for each query token; :func:`default_k_prime` unless given. One query's are held in
                memory, at 16 bytes each.
            device: the torch device of the float32 products.
            block: document tokens at a time; changes no result.
        """
        self._tokens, self._device, self._block = tokens, device, block
        self.total = int(tokens.offsets[-1])
        self.k_prime = min(k_prime or default_k_prime(self.total), self.total)

    def search(self, queries: Ragged, depth: int, formula: Formula | None = None) -> Rankings:
        """Return the best ``depth`` of the documents that a query's tokens retrieved, for every query.

        Raises:
            ValueError: when a query vector holds NaN or infinity.
        """
        check_finite(queries)
        how = formula or Formula()
        codes, scores = [], []
        for retrieved in self.retrieve(queries):
            code, score = self._score(retrieved, how)
            code, score = leaders(code, score, depth)
            codes.append(code)
            scores.append(score)
        return Rankings.from_lists(codes, scores)

    def retrieve(self, queries: Ragged) -> Iterator[list[tuple[Rows, Doubles]]]:
        """Yield for every query, for each of its tokens, the rows of the k' best document tokens and their exact products.

        Rows are ascending, ``int64[k']``, and the products ``float64[k']``.
        """
        width = min(self.k_prime + _MARGIN, self.total)
        for first, last in groups(queries.offsets, max(1, _CELLS // (4 * width + self._block))):
            start = queries.offsets[first]
            asked = on_grid(queries.vectors[start : queries.offsets[last]])
            near, rows = self._candidates(asked.astype(np.float32), width)
            for query in range(first, last):
                yield [
                    self._settle(asked[i], near[i], rows[i])
                    for i in range(
                        int(queries.offsets[query] - start), int(queries.offsets[query + 1] - start)
                    )
                ]

    # -- inside --------------------------------------------------------------------------------------------

    def _score(self, retrieved: list[tuple[Rows, Doubles]], formula: Formula) -> tuple[CodeArray, ScoreArray]:
        gains = np.zeros(len(self._tokens), np.float64)
        hits = np.zeros(len(self._tokens), np.int32)
        missing = 0.0
        for rows, products in retrieved:
            if len(rows) == 0:
                continue
            last = float(products.min()) if formula.impute == "last" else 0.0
            docs = np.searchsorted(self._tokens.offsets, rows, side="right") - 1
            starts = np.flatnonzero(np.diff(docs, prepend=-1))
            gains[docs[starts]] += np.maximum.reduceat(products, starts) - last
            hits[docs[starts]] += 1
            missing += last
        found = np.flatnonzero(hits)
        return found.astype(np.int32), formula.combine(gains[found], missing, hits[found], len(retrieved))

    def _candidates(self, queries: NDArray[np.float32], width: int) -> tuple[NDArray[np.float32], Rows]:
        """Return the ``width`` greatest float32 products of every query token and their rows."""
        import torch

        torch.set_float32_matmul_precision("highest")  # the error bound is that of float32, not of TF32
        asked = torch.from_numpy(queries).to(self._device)
        near = torch.empty((len(queries), 0), device=self._device)
        rows = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)
        for first, _, vectors in self._tokens.blocks(self._block) if len(queries) else ():
            products = asked @ self._wide(vectors).T
            top = torch.topk(products, min(width, products.shape[1]), dim=1)
            near = torch.cat([near, top.values], dim=1)
            rows = torch.cat([rows, top.indices + int(self._tokens.offsets[first])], dim=1)
            top = torch.topk(near, min(width, near.shape[1]), dim=1)
            near, rows = top.values, rows.gather(1, top.indices)
        return near.cpu().numpy(), rows.cpu().numpy()

    def _settle(self, query: Doubles, near: NDArray[np.float32], rows: Rows) -> tuple[Rows, Doubles]:
        """Return the exact k' best of one query token, given its candidates."""
        rows = np.sort(rows)
        products = self._exact(query, rows)
        rows, products = _greatest(rows, products, self.k_prime)
        if len(near) == self.total or len(rows) == 0:
            return rows, products
        slack = error_bound(query.astype(np.float32), self._tokens.longest)
        last = float(products.min())
        if float(near.min()) + slack < last:
            return rows, products
        return self._all_above(query, last - slack)  # a token that was not looked at may belong here

    def _all_above(self, query: Doubles, threshold: float) -> tuple[Rows, Doubles]:
        """Return the k' best of all tokens whose float32 product reaches the threshold: many, where documents repeat."""
        import torch

        asked = torch.from_numpy(query.astype(np.float32)).to(self._device)
        rows, products = np.zeros(0, np.int64), np.zeros(0, np.float64)
        for first, _, vectors in self._tokens.blocks(self._block):
            there = torch.nonzero(self._wide(vectors) @ asked >= threshold)[:, 0].cpu().numpy()
            exact = vectors[there].astype(np.float64) @ query
            rows = np.concatenate([rows, there + self._tokens.offsets[first]])
            rows, products = _greatest(rows, np.concatenate([products, exact]), self.k_prime)
        return rows, products

    def _exact(self, query: Doubles, rows: Rows) -> Doubles:
        parts = [
            self._tokens.take(rows[start : start + self._block]).astype(np.float64) @ query
            for start in range(0, len(rows), self._block)
        ]
        return np.concatenate([np.zeros(0), *parts])

    def _wide(self, vectors: NDArray[np.float16]) -> Any:
        import torch

        return torch.from_numpy(np.array(vectors)).to(self._device).float()


def _greatest(rows: Rows, products: Doubles, count: int) -> tuple[Rows, Doubles]:
    """Return the ``count`` greatest products, the greater row first among equals; by ascending row."""
    if len(rows) > count:
        chosen = np.sort(np.lexsort((-rows, -products))[:count])
        rows, products = rows[chosen], products[chosen]
    return rows, products
