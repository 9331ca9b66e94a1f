"""Which attention heads say best which document answers the query: the criteria of QRHead and CoRe.

A criterion gives every head a value for one query: from how much the head looks from the query at each document of a list, and
from which documents are relevant. A head's value is the mean over some queries; the best heads have the highest.

* ``qrhead-ndcg`` (QRHead, arXiv 2506.09944, as its code does it for re-ranking): nDCG@10 of the list ranked by this head alone,
  on shuffled lists, by the calibrated scores of ICR: attention from the query less that from "N/A", without outliers.
* ``qrhead-mass`` (QRHead, as the paper has it: QRscore of section 3): the attention on all relevant documents together, as it is,
  a mean over the query's tokens. It prefers heads that look at documents at all. Neither of the authors' detectors does this: the
  one for LongMemEval adds up the calibrated scores of the relevant documents, in lists that are not shuffled. The published lists
  found so are called ``qrhead-mass-calibrated``; nothing here computes it.
* ``core`` (CoRe, arXiv 2510.02219): exp(s+ / t) over the sum of exp(s / t) of the relevant document and those that are not
  relevant, of attention s as it is; here a mean over the relevant documents, each by itself, where the paper has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError, nearest
from irkit.models.lm.heads import Pair
from irkit.stages.rerank.calibration import QUERY, HeadScores

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

Method = Literal["qrhead-ndcg", "qrhead-mass", "core"]
METHODS: tuple[Method, ...] = get_args(Method)

Scores = NDArray[np.float32]
Values = NDArray[np.float64]
Gains = NDArray[np.int64]
Bounds = NDArray[np.int64]


class HeadAttention:
    """Collects how much each head looks at each document: attention as it is, without calibration."""

    def __init__(self, bounds: Bounds) -> None:
        """Start with nothing.

        Args:
            bounds: ``int64[D, 2]``, first and last + 1 token of each document among those read.
        """
        self._bounds = bounds.tolist()
        self._layers: list[Scores] = []

    def take(self, layer: int, read: int, weights: Tensor) -> None:
        """Take ``float32[heads, documents' tokens]`` of a layer; what is not of the query is not taken."""
        if read == QUERY:
            found = weights.cpu().numpy()
            sums = [found[:, start:stop].sum(axis=1, dtype=np.float64) for start, stop in self._bounds]
            self._layers.append(np.stack(sums, axis=1).astype(np.float32))

    def result(self) -> Scores:
        """Return ``float32[layers, heads, documents]``, the layers in the order in which they were read."""
        return np.stack(self._layers)


def ndcg(scores: Scores, gains: Gains, cutoff: int = 10) -> Values:
    """Return every head's nDCG on one list, ``float64[layers, heads]``.

    Gain over log2(rank + 1), over the same of the ideal order of this list, as trec_eval has it; documents of equal score keep the
    order of the list, which is why it has to be a random one.

    Args:
        scores: ``float32[layers, heads, docs]``.
        gains: ``int64[docs]``; what is not above 0 counts nothing, and one is.
        cutoff: documents that count.
    """
    worth = np.maximum(gains, 0).astype(np.float64)
    count = min(cutoff, len(worth))
    discount = 1.0 / np.log2(np.arange(2, count + 2))
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :count]
    ideal = np.sort(worth)[::-1][:count] @ discount
    return np.asarray(worth[order] @ discount / ideal, np.float64)


def mass(scores: Scores, gains: Gains) -> Values:
    """Return every head's attention on the relevant documents of one list together, ``float64[layers, heads]``.

    Args:
        scores: ``float32[layers, heads, docs]``, a mean over the query's tokens, a sum over each document's.
        gains: ``int64[docs]``; relevant is what is above 0.
    """
    return np.asarray(scores[..., gains > 0].sum(axis=-1, dtype=np.float64))


def contrast(scores: Scores, gains: Gains, temperature: float) -> Values:
    """Return every head's share of a relevant document among it and those that are not relevant, ``float64[layers, heads]``.

    Args:
        scores: ``float32[layers, heads, docs]``, a mean over the query's tokens, a sum over each document's.
        gains: ``int64[docs]``; relevant is what is above 0, one at least.
        temperature: t; the smaller, the more it counts that no other document is looked at more.
    """
    scaled = scores.astype(np.float64) / temperature
    positive, negative = scaled[..., gains > 0], scaled[..., gains <= 0]
    top = negative.max(axis=-1, keepdims=True)
    others = top + np.log(np.exp(negative - top).sum(axis=-1, keepdims=True))
    with np.errstate(over="ignore"):  # a document far below the others has a share of 0
        share: Values = 1.0 / (1.0 + np.exp(others - positive))
    return np.asarray(share.mean(axis=-1), np.float64)


@dataclass(frozen=True)
class Criterion:
    """A criterion with its options.

    Attributes:
        method: which.
        cutoff: of nDCG.
        temperature: of CoRe; the paper took 0.001 for Mistral-7B and 0.1 for Llama-3.1-8B.

    Raises:
        ConfigError: for a criterion that there is not, or an option that cannot be.
    """

    method: Method = "qrhead-ndcg"
    cutoff: int = 10
    temperature: float = 0.001

    def __post_init__(self) -> None:
        """Check the options."""
        if self.method not in METHODS:
            raise ConfigError.of(
                f"there is no method {self.method!r}", where="method", hint=nearest(self.method, METHODS)
            )
        if self.cutoff < 1:
            raise ConfigError.of(
                f"{self.cutoff} documents cannot be ranked", where="cutoff", hint="give 1 or more"
            )
        if not 0 < self.temperature < float("inf"):
            message = f"the temperature must be above 0, not {self.temperature}"
            raise ConfigError.of(message, where="temperature", hint="for example 0.001")

    @property
    def calibrated(self) -> bool:
        """Whether it takes calibrated scores; attention as it is otherwise."""
        return self.method == "qrhead-ndcg"

    def collector(self, bounds: Bounds) -> HeadScores | HeadAttention:
        """Return what collects the scores that this criterion takes, of one prompt.

        Args:
            bounds: ``int64[D, 2]``, first and last + 1 token of each document among those read.
        """
        return HeadScores(bounds) if self.calibrated else HeadAttention(bounds)

    def options(self) -> dict[str, float]:
        """Return the options that this method has, for the record."""
        if self.method == "core":
            return {"temperature": self.temperature}
        return {"cutoff": self.cutoff} if self.method == "qrhead-ndcg" else {}

    def __call__(self, scores: Scores, gains: Gains) -> Values:
        """Return every head's value for one query, ``float64[layers, heads]``.

        Args:
            scores: ``float32[layers, heads, docs]``, calibrated or not as :attr:`calibrated` says.
            gains: ``int64[docs]``, at least one above 0 and at least one not.
        """
        if self.method == "qrhead-ndcg":
            return ndcg(scores, gains, self.cutoff)
        if self.method == "qrhead-mass":
            return mass(scores, gains)
        return contrast(scores, gains, self.temperature)


def best(values: Values, count: int) -> tuple[tuple[Pair, ...], tuple[float, ...]]:
    """Return the ``count`` heads of the highest value, best first, and their values; equals by layer, then head, ascending.

    Args:
        values: ``float64[layers, heads]``.
        count: how many.

    Raises:
        ConfigError: when there are not so many.
    """
    check_count(count, values.size)
    order = np.argsort(-values.ravel(), kind="stable")[:count]
    pairs = tuple((int(each) // values.shape[1], int(each) % values.shape[1]) for each in order)
    return pairs, tuple(float(values[pair]) for pair in pairs)


def tied_at_cut(values: Values, count: int) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the heads whose value is that of the last that :func:`best` takes: those it takes, and those it leaves out.

    Nothing of either where none of them is left out. Both are by layer, then head, ascending.

    Args:
        values: ``float64[layers, heads]``.
        count: how many are taken.
    """
    taken, worth = best(values, count)
    equal = [(int(layer), int(head)) for layer, head in np.argwhere(values == worth[-1])]
    left = tuple(pair for pair in equal if pair not in taken)
    return (tuple(pair for pair in equal if pair in taken) if left else ()), left


def check_count(count: int, heads: int) -> None:
    """Make sure that so many heads can be taken of a model's.

    Raises:
        ConfigError: when not.
    """
    if not 1 <= count <= heads:
        message = f"{count} heads cannot be taken of the model's {heads}"
        raise ConfigError.of(message, where="top", hint=f"give a number from 1 to {heads}")
