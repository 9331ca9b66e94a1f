"""Searching inverted lists of document tokens: XTR's scores from a few lists for each query token.

For one query token: the ``nprobe`` lists with the best centroids are scored, each token as centroid + residual, by table
lookup, without decoding it; a document gets the greatest of its tokens' scores, and no less than the query token's missing
similarity. A document that no probed list holds counts with the missing similarity itself, an estimate of XTR's last retrieved
score: the score of the centroid at which the lists, best first, come to hold t' tokens (WARP, arXiv 2501.17788, section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.models.ragged import Ragged, check_finite
from irkit.stages.multivector.columns import Column
from irkit.stages.multivector.residual import ResidualCodec
from irkit.stages.multivector.threads import side_by_side
from irkit.stages.multivector.token_search import Formula, leaders

_PAD = 8
"""Coordinates are padded with zeros to a multiple of it: whole bytes of codes, whole steps of the centroids' kernel."""


def missing_reach(tokens: int) -> int:
    """Return the default t': sqrt(32 T), at least 1.

    WARP's code takes half as much and rounds down to thousands, which is 0 below 125,000 tokens. Twice as much is chosen for
    fidelity to MaxSim, not for nDCG: on Cranfield (MiniLM's tokens in 128 dimensions, 32 of 8,182 lists) 0.870 of exact MaxSim's
    first ten are found against 0.840, while nDCG@10 is 0.440 against 0.453, and that of exact MaxSim 0.437.
    """
    return max(1, int(np.sqrt(32.0 * tokens)))


@dataclass
class Work:
    """How much of an index some queries looked at.

    Attributes:
        queries: with at least one token.
        scored: the mean, over queries, of the tokens scored, summed over the query's n tokens, divided by n T.
        touched: the mean, over queries, of the distinct tokens scored for any of its tokens, divided by T.
    """

    queries: int = 0
    scored: float = 0.0
    touched: float = 0.0

    def add(self, scored: float, touched: float) -> None:
        """Count one query."""
        self.queries += 1
        self.scored += (scored - self.scored) / self.queries
        self.touched += (touched - self.touched) / self.queries


@dataclass(frozen=True)
class Found:
    """One query's documents, before the best are taken.

    Attributes:
        docs: ``int32[m]``, every document with a token in a list that was looked into.
        scores: ``float32[m]``.
        scored: tokens that were scored, counted for every query token.
        touched: distinct ones among them.
    """

    docs: CodeArray
    scores: ScoreArray
    scored: int
    touched: int


class _Workspace:
    """Arrays over all documents, that one query at a time uses and leaves as it found them."""

    def __init__(self, documents: int) -> None:
        self.best = np.full(documents, -np.inf, np.float32)
        self.total = np.zeros(documents, np.float32)
        self.hits = np.zeros(documents, np.int32)
        self.touched = np.zeros(documents, np.int32)
        self.order = np.zeros(documents, np.int32)


class TokenIvf:
    """An index that :func:`irkit.stages.multivector.ivf.build_ivf` wrote.

    A query's result depends on that query, the index and the options alone: each query is computed by itself, in one order. On
    another kind of processor scores can differ by some 1e-6, because multiplications and additions are fused where it can.

    Attributes:
        offsets: ``int64[nlist + 1]``, of the lists.
        documents: N.
        codec: the centroids and buckets.
    """

    def __init__(self, folder: Path, documents: int) -> None:
        """Map the files of the folder."""
        self.codec = ResidualCodec.load(folder / "codec")
        self.documents = documents
        self.offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        self._doc = Column(folder / "doc.npy").mapped
        self._codes = Column(folder / "codes.npy").mapped
        self._inverse = np.load(folder / "inverse.npy", allow_pickle=False)
        wide = -(-self.codec.dim // _PAD) * _PAD
        self._columns = np.zeros((wide, self.codec.nlist), np.float32)
        self._columns[: self.codec.dim] = self.codec.centroids.T
        self._weights = np.zeros((wide, 1 << self.codec.bits), np.float32)
        self._weights[: self.codec.dim] = self.codec.weights
        self._free: list[_Workspace] = []

    @property
    def tokens(self) -> int:
        """T."""
        return int(self.offsets[-1])

    def search(
        self,
        queries: Ragged,
        depth: int,
        *,
        nprobe: int = 32,
        reach: int | None = None,
        formula: Formula | None = None,
        threads: int = 1,
        work: Work | None = None,
    ) -> Rankings:
        """Return the best ``depth`` documents that a query's lists hold, for every query; none for a query without tokens.

        Args:
            queries: in the space of the documents' tokens.
            depth: documents for each.
            nprobe: lists for each query token.
            reach: t'; :func:`missing_reach` unless given.
            formula: how token scores become a document's; XTR's inference unless given.
            threads: queries that are computed side by side; changes no result.
            work: counts what was looked at.

        Raises:
            ValueError: when a query vector holds NaN or infinity.
        """
        check_finite(queries)
        how = formula or Formula()
        reach = min(reach or missing_reach(self.tokens), self.tokens)

        def one(number: int) -> tuple[CodeArray, ScoreArray, Found]:
            found = self.score(queries[number], nprobe, reach, how)
            return *leaders(found.docs, found.scores, depth), found

        codes: list[CodeArray] = []
        scores: list[ScoreArray] = []
        work_of_each = [partial(one, number) for number in range(len(queries))]
        for number, (doc, score, found) in enumerate(side_by_side(work_of_each, threads)):
            codes.append(doc)
            scores.append(score)
            if work is not None and len(queries[number]) and self.tokens:
                share = found.scored / len(queries[number]) / self.tokens
                work.add(share, found.touched / self.tokens)
        return Rankings.from_lists(codes, scores)

    def score(self, query: NDArray[np.float32], nprobe: int, reach: int, formula: Formula) -> Found:
        """Score one query, ``float32[n, dim]``."""
        from irkit.stages.multivector.ivf_kernels import centroid_scores, search

        if len(query) == 0 or self.tokens == 0:
            return Found(np.zeros(0, np.int32), np.zeros(0, np.float32), 0, 0)
        padded = np.zeros((len(query), len(self._columns)), np.float32)
        padded[:, : query.shape[1]] = query
        near = np.empty((len(query), self.codec.nlist), np.float32)
        centroid_scores(padded, self._columns, near)
        nprobe = min(nprobe, self.codec.nlist)
        wide = min(self.codec.nlist, max(nprobe, reach * self.codec.nlist // self.tokens + 16))
        space = self._free.pop() if self._free else _Workspace(self.documents)
        met, scored, touched, missing = search(
            padded,
            near,
            self.offsets,
            self._doc,
            self._codes,
            self._weights,
            self._inverse,
            self.codec.bits,
            nprobe,
            wide,
            reach,
            formula.impute == "last",
            space.best,
            space.total,
            space.hits,
            space.touched,
            space.order,
        )
        docs = space.order[:met].copy()
        sums, hits = space.total[docs], space.hits[docs]
        space.hits[docs] = 0
        self._free.append(space)
        return Found(docs, formula.combine(sums, missing, hits, len(query)), scored, touched)
