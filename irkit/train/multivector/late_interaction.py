"""Late interaction that a loss can be taken of: MaxSim, XTR's in-batch token retrieval, and what a head changes of MaxSim.

Which document token a query token meets is found without gradients. Only the products of those pairs are computed again for
the loss to reach them: a gradient flows through the maxima alone, and everything else need not be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CELLS = 1 << 25
"""Products that are held at a time: 128 MB in float32."""


@dataclass(frozen=True)
class Texts:
    """Token vectors of n texts, one text after the other, without padding.

    Attributes:
        vectors: ``[T, dim]``.
        lengths: ``int64[n]``, on the vectors' device, of sum T.
    """

    vectors: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, padded: torch.Tensor, mask: torch.Tensor) -> Texts:
        """Take the tokens out of ``[n, L, dim]`` where ``mask``, ``bool[n, L]``, is true. What the others hold has no effect,
        not even NaN.
        """
        return cls(padded[mask], mask.sum(dim=1))

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """Join texts, in order."""
        import torch

        return cls(torch.cat([part.vectors for part in parts]), torch.cat([part.lengths for part in parts]))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> torch.Tensor:
        """Where each text begins, ``int64[n]``."""
        return self.lengths.cumsum(0) - self.lengths

    def take(self, numbers: Sequence[int]) -> Texts:
        """Return some of the texts, in the order asked for."""
        import torch

        device = self.vectors.device
        chosen = torch.tensor(list(numbers), dtype=torch.int64, device=device)
        lengths = self.lengths[chosen]
        first = torch.repeat_interleave(self.starts[chosen] - (lengths.cumsum(0) - lengths), lengths)
        rows = first + torch.arange(len(first), device=device)
        return Texts(self.vectors.index_select(0, rows), lengths)


@dataclass(frozen=True)
class Pair:
    """The same texts twice, row by row: by the vectors that heads make, and by those in all dimensions."""

    short: Texts
    wide: Texts

    def take(self, numbers: Sequence[int]) -> Pair:
        """Return some of the texts, in the order asked for."""
        return Pair(self.short.take(numbers), self.wide.take(numbers))


@dataclass(frozen=True)
class Meetings:
    """For every query token and every document, the document's token that is nearest.

    Attributes:
        scores: ``[T, D]``, their product; -inf for a document without tokens. Without gradient.
        rows: ``int64[T, D]``, of the token among all documents' tokens; 0 for a document without tokens.
        least: ``[T]``, what a document token must reach to be among the ``retrieved`` best of the batch; None where nobody asked.
    """

    scores: torch.Tensor
    rows: torch.Tensor
    least: torch.Tensor | None = None


def meet(asked: Texts, found: Texts, retrieved: int | None = None) -> Meetings:
    """Find the nearest tokens, in blocks of query tokens, so that memory is bounded.

    Args:
        asked: queries.
        found: documents, with one token at least.
        retrieved: also say how great the product of a query token with its so-many-th best document token is.
    """
    import torch

    with torch.no_grad():
        place = torch.arange(int(found.lengths.max()), device=found.vectors.device)
        real = place < found.lengths[:, None]
        rows = torch.where(real, found.starts[:, None] + place, 0)
        grid = found.vectors.detach()[rows.flatten()]
        document = torch.arange(len(found), device=rows.device)
        parts: list[list[torch.Tensor]] = []
        for some in asked.vectors.detach().split(max(1, _CELLS // rows.numel())):
            products = (some @ grid.T).view(len(some), *rows.shape).masked_fill(~real, float("-inf"))
            best = products.max(dim=-1)
            part = [best.values, rows[document, best.indices]]
            if retrieved:
                most = min(retrieved, len(found.vectors))
                part.append(products.flatten(1).topk(most, dim=1, sorted=False).values.amin(dim=1))
            parts.append(part)
        return Meetings(*(torch.cat(column) for column in zip(*parts, strict=True)))


def max_sim(asked: Texts, found: Texts) -> torch.Tensor:
    """Return ``[Q, D]``: 1/n sum_i max_j <q_i, d_j> (ColBERT, arXiv 2004.12832, eq. 3, over the n query tokens).

    The mean in place of the sum ranks alike, and lets one temperature do for long and short queries. A document without tokens
    and a query without tokens score 0.
    """
    products, _ = _products(asked, found, meet(asked, found))
    return _by_query(asked, products) / asked.lengths.clamp_min(1)[:, None]


def xtr(asked: Texts, found: Texts, k_train: int) -> torch.Tensor:
    """Return ``[Q, D]``: 1/Z sum_i max_j A_ij <q_i, d_j> (XTR, arXiv 2304.01982, eq. 4 and 5).

    A_ij is 1 where d_j is among the ``k_train`` best of all documents' tokens of the batch for q_i; Z is the number of query tokens
    with such a token in the document. Where there is none, the paper clips Z, and the score is 0: so is it here (Z at least 1).
    Such a document stands in the softmax with a score of 0 and gets no gradient; the others are pushed down or up against it. Of
    document tokens equal to the last of the k, all count as retrieved.
    """
    met = meet(asked, found, k_train)
    products, counted = _products(asked, found, met)
    return _by_query(asked, products) / _by_query(asked, counted.to(products.dtype)).clamp_min(1)


def match_loss(asked: Pair, found: Pair) -> torch.Tensor:
    """Return how far short token vectors of a query are from finding in documents what the wide ones find.

    A query token's best product with a document, less the wide vectors' product of the same two tokens, is an error; so is that of
    the two tokens that are nearest by the wide vectors. What is the same for all documents changes no ranking: errors are less
    their mean over these. The loss is 100 times the mean square of the errors, and the mean square of their sums over the query's
    tokens, of the pairs that the wide vectors find: the error of MaxSim. The formula is irkit's own.

    Args:
        asked: one query, with one token at least: short ones, ``[T, dim]``, with gradient, and wide ones, ``[T, hidden]``.
        found: documents, likewise; with one token at least.
    """
    import torch

    errors = []
    for met in (meet(asked.wide, found.wide), meet(asked.short, found.short)):
        short, _ = _products(asked.short, found.short, met)
        with torch.no_grad():
            right, _ = _products(asked.wide, found.wide, met)
        errors.append(short - right)
    both, sums = torch.cat(errors, 1), errors[0].sum(0)
    return 100 * (both - both.mean(1, keepdim=True)).square().mean() + (sums - sums.mean()).square().mean()


def mean_of_best(asked: Texts, found: Texts) -> torch.Tensor:
    """Return :func:`max_sim` without a gradient, for less work."""
    import torch

    with torch.no_grad():
        scores = meet(asked, found).scores
        sums = _by_query(asked, scores.masked_fill(scores.isinf(), 0.0))
        return sums / asked.lengths.clamp_min(1)[:, None]


def _products(asked: Texts, found: Texts, met: Meetings) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the products of nearest tokens, ``[T, D]`` with gradient, 0 where they do not count, and where they count."""
    counted = ~met.scores.isinf()
    if met.least is not None:
        counted &= met.scores >= met.least[:, None]
    there = found.vectors.index_select(0, met.rows.flatten()).view(*met.rows.shape, -1)
    products = (asked.vectors[:, None, :] * there).sum(dim=-1)
    return products.masked_fill(~counted, 0.0), counted


def _by_query(asked: Texts, of_token: torch.Tensor) -> torch.Tensor:
    """Add up the rows of each query's tokens: ``[Q, D]`` of ``[T, D]``."""
    import torch

    query = torch.repeat_interleave(torch.arange(len(asked), device=of_token.device), asked.lengths)
    return of_token.new_zeros(len(asked), of_token.shape[1]).index_add(0, query, of_token)
