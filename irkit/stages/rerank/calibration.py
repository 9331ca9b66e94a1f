"""From the attention of a query, and of the query "N/A", to the scores of documents (ICR, arXiv 2410.02642, section 3).

A token's score is how much the query's rows look at it, summed over heads and layers: s_t(q). What a query without content
looks at is the model's bias, and is taken off: c_t = s_t(q) - s_t("N/A"). A document's score is the sum of its c_t, without the
outliers among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

Floats = NDArray[np.float64]
Bounds = NDArray[np.int64]

QUERY, NOTHING = 0, 1
"""The reads of a prompt: the attention of the query, and of "N/A"."""


def inliers(calibrated: Floats, bounds: Bounds) -> NDArray[np.bool_]:
    """Return which token scores count, ``bool[..., T]``: those of a document that are not far below its others.

    The paper's rule: a document's token counts when c_t > mean - 2 std, with the unbiased standard deviation. That says
    nothing about a document of one token, and would drop every token where all scores are equal; so the greatest score
    of a document always counts. Tokens of no document do not count.

    Args:
        calibrated: ``float64[..., T]``, c_t.
        bounds: ``int64[D, 2]``, first and last + 1 token of each document; they ascend and do not overlap, and may be empty.
    """
    counts = np.diff(bounds, axis=1)[:, 0]
    tokens = _tokens(bounds)
    mine = calibrated[..., tokens]
    mean = _sums(calibrated, bounds) / np.maximum(counts, 1)
    centred = np.zeros_like(calibrated)
    centred[..., tokens] = mine - np.repeat(mean, counts, axis=-1)
    spread = np.sqrt(_sums(centred**2, bounds) / np.maximum(counts - 1, 1))
    greatest = _reduced(np.maximum, calibrated, bounds)
    lowest = np.repeat(mean - 2 * spread, counts, axis=-1)
    kept = np.zeros(calibrated.shape, np.bool_)
    kept[..., tokens] = (mine > lowest) | (mine == np.repeat(greatest, counts, axis=-1))
    return kept


def document_scores(scores: Floats, bounds: Bounds, *, outliers: bool = False) -> tuple[Floats, Floats]:
    """Return the documents' scores ``float64[..., D]``, and what each token contributes to them, ``float64[..., T]``.

    Args:
        scores: ``float64[..., T]``, of tokens.
        bounds: as for :func:`inliers`. The score of an empty document is 0.
        outliers: whether they count too. What is not finite counts always, so that it shows.
    """
    counted = scores if outliers else np.where(inliers(scores, bounds) | ~np.isfinite(scores), scores, 0.0)
    return _sums(counted, bounds), counted


def _tokens(bounds: Bounds) -> NDArray[np.int64]:
    """Return the numbers of all documents' tokens."""
    counts = np.diff(bounds, axis=1)[:, 0]
    before = np.cumsum(counts) - counts
    numbers: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(bounds[:, 0] - before, counts)
    return numbers


def _sums(values: Floats, bounds: Bounds) -> Floats:
    return _reduced(np.add, values, bounds)


def _reduced(how: np.ufunc, values: Floats, bounds: Bounds) -> Floats:
    """Reduce the values of every document; 0 for an empty one."""
    if not len(bounds):
        return np.zeros((*values.shape[:-1], 0))
    padded = np.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)  # a bound may be T
    reduced: Floats = how.reduceat(padded, bounds.ravel(), axis=-1)[..., ::2]
    return np.where(bounds[:, 0] < bounds[:, 1], reduced, 0.0)


class TokenScores:
    """Collects one prompt's token scores, summed over heads and layers."""

    def __init__(self, heads: Mapping[int, tuple[int, ...]] | None = None, calibrate: bool = True) -> None:
        """Start with nothing.

        Args:
            heads: which heads of which layers are summed; all of them for None.
            calibrate: whether the attention of "N/A" is taken off; it comes as the second read then.
        """
        self._heads, self._calibrate = heads, calibrate
        self._query: Tensor | None = None
        self._sum: Tensor | None = None

    def take(self, layer: int, read: int, weights: Tensor) -> None:
        """Take ``float32[heads, documents' tokens]`` of a layer: of the query, and then of "N/A"."""
        mine = weights if self._heads is None else weights[list(self._heads[layer])]
        if self._calibrate and read == QUERY:
            self._query = mine
            return
        part = _total(mine if self._query is None else self._query - mine)
        self._sum = part if self._sum is None else self._sum + part
        self._query = None

    def result(self) -> Floats:
        """Return c_t, or s_t(q) without calibration, ``float64[documents' tokens]``."""
        if self._sum is None:
            raise ValueError("no layer was read")
        scores: Floats = self._sum.cpu().numpy().astype(np.float64)
        return scores


class HeadScores:
    """Collects what each head alone would say of each document: its calibrated score, without outliers of its own.

    With one head h of layer l, ``icr`` with ``heads: ["l-h"]`` gives these scores.
    """

    def __init__(self, bounds: Bounds) -> None:
        """Start with nothing.

        Args:
            bounds: ``int64[D, 2]``, first and last + 1 token of each document among those read.
        """
        self._bounds = bounds
        self._query: Tensor | None = None
        self._layers: list[NDArray[np.float32]] = []

    def take(self, layer: int, read: int, weights: Tensor) -> None:
        """Take ``float32[heads, documents' tokens]`` of a layer: of the query, and then of "N/A"."""
        if read == QUERY:
            self._query = weights
            return
        if self._query is None:
            raise ValueError("the attention of the query comes first")
        calibrated = (self._query - weights).cpu().numpy().astype(np.float64)
        self._layers.append(document_scores(calibrated, self._bounds)[0].astype(np.float32))
        self._query = None

    def result(self) -> NDArray[np.float32]:
        """Return ``float32[layers, heads, documents]``, the layers in the order in which they were read."""
        return np.stack(self._layers)


def _total(weights: Tensor) -> Tensor:
    """Sum over the heads, in float64 where the device has it: what is left of a difference is small."""
    import torch

    wide = torch.float32 if weights.device.type == "mps" else torch.float64
    return weights.sum(dim=0, dtype=wide)
