"""MaxSim on a CUDA device: Triton kernels that read every document vector once and return exact scores.

A program takes one pair of a query and a document. It finds, for every query token, the document token with the greatest product on
the tensor cores, in about float32 (the query is split into two float16 numbers a coordinate, documents are float16 as stored), and
keeps the best and the second best. Then it computes the products of the winners alone in float64, where they are exact (see
:mod:`irkit.stages.multivector.scoring`), and adds them up. Nothing of size tokens x query tokens is ever written to memory.

Where the second best comes within the error of the best, the winner is not certain. That happens to one pair in fifty or
fewer; a second kernel computes these in float64 throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, IntArray, ScoreArray, offsets_of
from irkit.models.ragged import Ragged, groups
from irkit.stages.multivector.tokens import Tokens

_ROWS = 1 << 22
"""Document tokens on the device at a time where the collection does not fit: 1 GB at 128 dimensions."""
_CELLS = 1 << 24
"""Scores that a scan holds at a time: 128 MB."""
_SLACK = 2.0**-24
"""For each dimension, how close two products of vectors of length 1 may be before their order is uncertain.

Products of float16 numbers are exact in float32. The tensor cores add 16 of them at a time, twice for the two parts of the
query, with an error that we take to be 2^-22 a time at most; two products may err in opposite directions:
2 * 2 * dim / 16 * 2^-22 = dim 2^-24. NVIDIA does not document the error; ``eval/bench/README.md`` has what was measured on an H200.
"""


def available() -> bool:
    """Whether Triton is installed; torch brings it with its CUDA builds for Linux."""
    return find_spec("triton") is not None


class CudaEngine:
    """Scores documents on a CUDA device: see :class:`irkit.stages.multivector.scoring.Engine`.

    The documents' vectors stay on the device where half of its free memory holds them; otherwise they are moved block by block.
    """

    def __init__(self, tokens: Tokens, device: str, block: int | None = None) -> None:
        """Open the engine.

        Args:
            tokens: the documents.
            device: ``cuda`` or ``cuda:1`` and so on.
            block: document tokens on the device at a time where the collection does not fit.
        """
        import torch

        self._tokens, self._device = tokens, device
        self._block = block or _ROWS
        size = 2 * int(tokens.offsets[-1]) * tokens.dim
        fits = block is None and size < torch.cuda.mem_get_info(device)[0] // 2
        self._resident = self._move(0, len(tokens)) if fits else None

    def exact(self, queries: Ragged, offsets: IntArray, docs: CodeArray) -> ScoreArray:
        """Return the exact scores of each query with its documents: query ``q`` owns ``docs[offsets[q]:offsets[q + 1]]``."""
        import torch

        asked = Asked.move(queries, self._device)
        owner = np.repeat(np.arange(len(queries), dtype=np.int32), np.diff(offsets))
        out = np.empty(len(docs), np.float64)
        order = np.argsort(docs, kind="stable")
        for at, codes, pairs in self._parts(docs, order):
            query, doc = (torch.from_numpy(part).to(self._device) for part in (owner[at], codes))
            out[at] = pairs.scores(asked, query, doc).cpu().numpy()
        return out.astype(np.float32)

    def scan(self, queries: Ragged) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the exact scores of all documents: the first document's code, and ``float32[Q, n]`` of n documents from it on."""
        import torch

        asked = Asked.move(queries, self._device)
        for first, last in groups(self._tokens.offsets, self._block, max(1, _CELLS // max(1, len(queries)))):
            count = last - first
            pairs, lead = (self._resident, first) if self._resident else (self._move(first, last), 0)
            doc = torch.arange(lead, lead + count, dtype=torch.int32, device=self._device)
            query = torch.arange(len(queries), dtype=torch.int32, device=self._device)
            # neighbours share the document, which is then still in the cache
            found = pairs.scores(asked, query.repeat(count), doc.repeat_interleave(len(queries)))
            yield first, found.view(count, len(queries)).float().cpu().numpy().T.copy()

    def _move(self, first: int, last: int) -> Pairs:
        """Bring the documents from ``first`` to before ``last`` to the device."""
        start, stop = int(self._tokens.offsets[first]), int(self._tokens.offsets[last])
        vectors = np.array(self._tokens.span(start, stop))
        return Pairs(
            self._tokens.offsets[first : last + 1] - start, vectors, self._tokens.longest, self._device
        )

    def _parts(
        self, docs: CodeArray, order: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], CodeArray, Pairs]]:
        """Yield positions in ``docs``, the numbers of their documents on the device, and what scores them."""
        if self._resident:
            yield order, docs[order], self._resident
            return
        ends = np.cumsum(self._tokens.lengths[docs[order]])
        at = 0
        while at < len(order):
            before = ends[at - 1] if at else 0
            some = order[at : max(at + 1, int(np.searchsorted(ends, before + self._block, side="right")))]
            at += len(some)
            distinct, number = np.unique(docs[some], return_inverse=True)
            lengths = self._tokens.lengths[distinct]
            starts = offsets_of(lengths)
            rows = np.repeat(self._tokens.offsets[distinct] - starts[:-1], lengths) + np.arange(starts[-1])
            pairs = Pairs(starts, self._tokens.take(rows), self._tokens.longest, self._device)
            yield some, number.astype(np.int32), pairs


@dataclass(frozen=True)
class Asked:
    """Queries on the device.

    Attributes:
        exact: ``float64[S, dim]``, the stacked query tokens, on the grid of :mod:`~irkit.stages.multivector.scoring`.
        high: ``float16[S, dim]``; with ``low`` the query tokens again, scaled to a length in (1/2, 1]. A scale changes no
            maximum; it is a power of two, so that it rounds nothing.
        low: ``float16[S, dim]``.
        starts: ``int64[Q + 1]``; query ``q`` owns the rows ``starts[q]:starts[q + 1]``.
        longest: the most tokens of a query.
    """

    exact: Any
    high: Any
    low: Any
    starts: Any
    longest: int

    @classmethod
    def move(cls, queries: Ragged, device: str) -> Asked:
        """Split the query tokens, which are on the grid, and bring them to the device."""
        import torch

        wide = queries.vectors.astype(np.float64)
        norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
        scaled = wide * np.exp2(-np.ceil(np.log2(np.maximum(norms, 2.0**-100))))
        high = scaled.astype(np.float16)
        low = (scaled - high).astype(np.float16)
        exact, high, low, starts = (
            torch.from_numpy(np.ascontiguousarray(part)).to(device)
            for part in (wide, high, low, queries.offsets)
        )
        return cls(exact, high, low, starts, int(np.diff(queries.offsets).max(initial=0)))


class Pairs:
    """Scores (query, document) pairs over document vectors that lie on the device."""

    def __init__(
        self, offsets: NDArray[np.int64], vectors: NDArray[np.float16], longest: float, device: str
    ) -> None:
        """Bring the documents to the device.

        Args:
            offsets: ``int64[N + 1]``.
            vectors: ``float16[T, dim]``.
            longest: the greatest norm of a row.
            device: where to.
        """
        import torch

        self._vectors = torch.from_numpy(vectors).to(device)
        self._offsets = torch.from_numpy(np.ascontiguousarray(offsets)).to(device)
        self._slack = _SLACK * vectors.shape[1] * longest

    def scores(self, asked: Asked, query: Any, doc: Any) -> Any:
        """Return the exact score of every pair, ``float64[P]`` on the device; 0 for a document or a query without tokens.

        Args:
            asked: the queries.
            query: ``int32[P]`` on the device: the numbers of the pairs' queries.
            doc: ``int32[P]`` on the device: the numbers of their documents.
        """
        import torch

        from irkit.stages.multivector.maxsim_triton import launch

        scores = torch.empty(len(doc), dtype=torch.float64, device=doc.device)
        data = (self._vectors, self._offsets, asked.high, asked.low, asked.exact, asked.starts)
        launch(data, (query, doc), scores, asked.longest, self._slack)
        return scores
