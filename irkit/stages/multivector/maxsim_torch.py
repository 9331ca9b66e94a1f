"""MaxSim on a torch device: products of blocks of documents of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, IntArray, ScoreArray
from irkit.models.ragged import Ragged
from irkit.stages.multivector.tokens import Tokens

_TOKENS = 1 << 14
"""Document tokens in a block."""
_CELLS = 1 << 24
"""Scores that a scan returns at a time: 64 MB."""


class TorchEngine:
    """Scores documents on a device, in float64 where they have to be exact.

    Where documents of unequal length share a block, a shorter one repeats its own first token, which changes no maximum.
    """

    def __init__(self, tokens: Tokens, device: str, block: int | None = None) -> None:
        """Open the engine.

        Args:
            tokens: the documents.
            device: the torch device that computes; one without float64 (MPS) leaves the exact part to the CPU.
            block: document tokens in a block.
        """
        self._tokens = tokens
        self._device = device
        self._exact_device = "cpu" if device.startswith("mps") else device
        self._block = block or _TOKENS

    def exact(self, queries: Ragged, offsets: IntArray, docs: CodeArray) -> ScoreArray:
        """Return the exact scores of each query with its documents: query ``q`` owns ``docs[offsets[q]:offsets[q + 1]]``."""
        import torch

        out = np.zeros(len(docs))
        for number in range(len(queries)):
            hits = slice(int(offsets[number]), int(offsets[number + 1]))
            asked = torch.from_numpy(queries[number].astype(np.float64)).to(self._exact_device)
            for at, vectors in self._blocks(docs[hits]):
                block = torch.from_numpy(vectors).to(self._exact_device).double()
                out[hits][at] = _maxima(asked, block).sum(dim=0).cpu().numpy()
        return out.astype(np.float32)

    def scan(self, queries: Ragged) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield approximate scores of all documents: the first document's code, and ``float32[Q, n]`` of n documents from it on."""
        import torch

        torch.set_float32_matmul_precision("highest")  # the error bound is that of float32, not of TF32
        asked = torch.from_numpy(queries.vectors).to(self._device)
        owner = np.repeat(np.arange(len(queries)), np.diff(queries.offsets))
        member = torch.from_numpy(owner).to(self._device)
        step = max(1, _CELLS // max(1, len(queries)))
        for first in range(0, len(self._tokens), step):
            docs = np.arange(first, min(first + step, len(self._tokens)), dtype=np.int32)
            scores = np.zeros((len(queries), len(docs)), np.float32)
            for at, vectors in self._blocks(docs):
                maxima = _maxima(asked, torch.from_numpy(vectors).to(self._device).float())
                sums = torch.zeros((len(queries), len(at)), device=self._device).index_add_(0, member, maxima)
                scores[:, at] = sums.cpu().numpy()
            yield first, scores

    def _blocks(self, docs: CodeArray) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Yield positions in ``docs`` and their vectors ``float16[B, L, dim]``; documents of similar length go together."""
        lengths = self._tokens.lengths[docs]
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        while len(order):
            longest = lengths[order[: self._block]]
            padded = longest * np.arange(1, len(longest) + 1)  # cells of a block that ends with this document
            at = order[: max(1, int(np.searchsorted(padded, self._block, side="right")))]
            column = np.arange(lengths[at[-1]])
            rows = self._tokens.offsets[docs[at]][:, None] + np.where(
                column < lengths[at][:, None], column, 0
            )
            yield at, self._tokens.take(rows)
            order = order[len(at) :]


def _maxima(query: Any, block: Any) -> Any:
    """Return for every query token (``[Tq, dim]``) and document (``[B, L, dim]``) the greatest dot product, ``[Tq, B]``."""
    documents, length, dim = block.shape
    return (query @ block.reshape(-1, dim).T).reshape(len(query), documents, length).amax(dim=2)
