"""MaxSim on the CPU: documents brought to the compiled loops, in as many threads as asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, IntArray, ScoreArray, offsets_of
from irkit.models.ragged import Ragged, groups
from irkit.stages.multivector import maxsim_kernels as kernels
from irkit.stages.multivector.scoring import norms_of
from irkit.stages.multivector.threads import side_by_side
from irkit.stages.multivector.tokens import FloatTokens, Tokens

_BLOCK = 1 << 15
"""Coordinates in a block: 128 KB in float32, a part of the second-level cache."""
_DECODE = 1 << 14
"""Rows that are decoded together where documents are not kept as float16, and that a task of a scan reads."""
_CELLS = 1 << 22
"""Scores that a task of a scan returns: 16 MB."""


@dataclass(frozen=True)
class _Query:
    """A query as the compiled loops want it.

    Attributes:
        panels: of :func:`panels_of`.
        slack: ``float32[Tq]``: how far from the greatest product another may be and still be the greatest.
        exact: ``float64[Tq * depth]``, coordinates padded with zeros.
    """

    panels: NDArray[np.float32]
    slack: NDArray[np.float32]
    exact: NDArray[np.float64]


class CpuEngine:
    """Scores documents in numba, one thread unless told otherwise.

    Every thread takes whole (query, documents) tasks and runs compiled code that starts no thread itself, so ``threads`` is what
    is used, whatever the BLAS or OpenMP settings are. A score depends on its query and document alone.
    """

    def __init__(self, tokens: Tokens, threads: int = 1, block: int | None = None) -> None:
        """Open the engine.

        Args:
            tokens: the documents.
            threads: how many to use.
            block: document tokens in a block; as many as suit the cache unless given.
        """
        self._tokens = tokens
        self._threads = max(1, threads)
        self._depth = -(-tokens.dim // kernels.DEPTH) * kernels.DEPTH
        self._block = block or max(kernels.ROWS, _BLOCK // self._depth)
        self._lengths = tokens.lengths
        self._resident = _bits(tokens.vectors) if isinstance(tokens, FloatTokens) else None

    def exact(self, queries: Ragged, offsets: IntArray, docs: CodeArray) -> ScoreArray:
        """Return the exact scores of each query with its documents: query ``q`` owns ``docs[offsets[q]:offsets[q + 1]]``."""
        out = np.zeros(len(docs), np.float32)
        work: list[Callable[[], None]] = []
        parts = -(-self._threads // max(1, len(queries)))
        for number in range(len(queries)):
            if len(queries[number]) == 0:
                continue  # a sum of nothing
            start, stop = int(offsets[number]), int(offsets[number + 1])
            cuts = np.linspace(start, stop, parts + 1).astype(np.int64)
            for first, last in pairwise(cuts):
                if last > first:
                    work.append(partial(self._score, queries[number], docs[first:last], out[first:last]))
        for _ in side_by_side(work, self._threads):
            pass
        return out

    def scan(self, queries: Ragged) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield approximate scores of all documents: the first document's code, and ``float32[Q, n]`` of n documents from it on."""
        panels = panels_of(queries.vectors)
        owner = np.repeat(np.arange(len(queries)), np.diff(queries.offsets))
        ranges = groups(self._tokens.offsets, _DECODE, max(1, _CELLS // max(1, len(queries))))
        work = [partial(self._scan, first, last, queries, panels, owner) for first, last in ranges]
        return side_by_side(work, self._threads)

    # -- inside --------------------------------------------------------------------------------------------

    def _score(self, vectors: NDArray[np.float32], docs: CodeArray, out: ScoreArray) -> None:
        """Write the scores of one query. Documents are read in the order in which they lie on disk."""
        query = self._prepare(vectors)
        order = np.argsort(docs, kind="stable")
        codes = docs[order].astype(np.int64)
        scores = np.zeros(len(codes))
        if self._resident is not None:
            self._run(query, self._resident, self._tokens.offsets[codes], self._lengths[codes], scores)
        else:
            ends = offsets_of(self._lengths[codes])
            for first, last in groups(ends, _DECODE, len(codes)):
                some = codes[first:last]
                starts, lengths = ends[first:last] - ends[first], self._lengths[some]
                rows = np.repeat(self._tokens.offsets[some] - starts, lengths) + np.arange(lengths.sum())
                self._run(query, _bits(self._tokens.take(rows)), starts, lengths, scores[first:last])
        out[order] = scores

    def _run(
        self,
        query: _Query,
        bits: NDArray[np.uint16],
        starts: IntArray,
        lengths: IntArray,
        out: NDArray[np.float64],
    ) -> None:
        kernels.score_documents(
            bits, self._tokens.dim, self._depth, starts, lengths, query.panels, query.slack, query.exact, self._block, out
        )  # fmt: skip

    def _prepare(self, vectors: NDArray[np.float32]) -> _Query:
        exact = np.zeros((len(vectors), self._depth))
        exact[:, : vectors.shape[1]] = vectors
        slack = 2.0 * product_error(vectors, self._tokens.longest)
        return _Query(panels_of(vectors), slack.astype(np.float32), exact.ravel())

    def _scan(
        self, first: int, last: int, queries: Ragged, panels: NDArray[np.float32], owner: IntArray
    ) -> tuple[int, NDArray[np.float32]]:
        offsets = self._tokens.offsets[first : last + 1]
        # mapped, not read: a scan that copied the rows first would take half as long again
        bits = _bits(self._tokens.span(int(offsets[0]), int(offsets[-1])))
        out = np.zeros((len(queries), last - first), np.float32)
        kernels.scan_documents(
            bits, self._tokens.dim, self._depth, offsets - offsets[0], panels, owner, self._block, out
        )
        return first, out


def product_error(query: NDArray[np.float32], longest: float) -> NDArray[np.float64]:
    """Bound the error of a float32 product of each query token with any document token of norm up to ``longest``: ``float64[Tq]``.

    |fl(q.x) - q.x| <= gamma_d |q|.|x| with gamma_d = d u / (1 - d u) and u = 2^-24, in any order of addition, fused or not (Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5); |q|.|x| <= ||q|| ||x||. The factor 2 covers
    the roundings of what is calculated with it.
    """
    steps = (query.shape[1] + 2) * 2.0**-24
    factor = 2.0 * steps / (1.0 - steps) * longest
    error: NDArray[np.float64] = factor * norms_of(query)
    return error


def panels_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay out query tokens (``float32[S, dim]``) in the order in which the product reads them.

    Panels of PANEL tokens one after the other, each coordinate by coordinate; the last one has LANES tokens where so few are
    left. Missing tokens are zeros, whose products nobody looks at.
    """
    count, dim = vectors.shape
    padded = np.zeros((-(-count // kernels.LANES) * kernels.LANES, dim), np.float32)
    padded[:count] = vectors
    full = len(padded) // kernels.PANEL * kernels.PANEL
    panels = padded[:full].reshape(-1, kernels.PANEL, dim).transpose(0, 2, 1)
    return np.concatenate([panels.ravel(), padded[full:].T.ravel()])


def _bits(vectors: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Return float16 numbers as flat ``uint16``: a view, where they lie in order."""
    flat = np.ascontiguousarray(vectors).view(np.uint16).reshape(-1)
    flat.flags.writeable = False  # so that arrays in memory and mapped ones share one compiled function
    return flat
