"""Learning from a teacher's scores, which the examples hold: the option ``distil`` of several kinds, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, PositiveFloat

from irkit.core.errors import ConfigError
from irkit.train.examples import Examples

if TYPE_CHECKING:
    import torch


class Distil(BaseModel):
    """What a teacher's scores add to the loss: weight * KL(softmax(z / temperature) || softmax(S / tau)), :func:`divergence`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: PositiveFloat = 1.0
    """Beside the objective's 1."""
    temperature: PositiveFloat = 1.0
    """Of the teacher's scores, standardised within each query's documents."""

    def check(self, examples: Examples) -> None:
        """Check that there is something to learn from.

        Raises:
            ConfigError: when no query has scores.
        """
        if all(query.scores is None for query in examples.queries):
            hint = "give the recipe a teacher: {pipeline: [...]}, or leave distil out"
            raise ConfigError.of(
                "the examples hold no scores of a teacher", where="options.distil", hint=hint
            )

    def loss(self, scores: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
        """Return the weighted divergence of every list, ``[B]``; ``scores`` and ``teacher`` as there."""
        return self.weight * divergence(scores, teacher, tau, self.temperature)


def divergence(
    scores: torch.Tensor, teacher: torch.Tensor, temperature: float, teacher_temperature: float
) -> torch.Tensor:
    """Return KL(softmax(z / teacher_temperature) || softmax(S / temperature)) of every list, ``[B]``; z are the teacher's scores.

    A list is a query's own documents. z is standardised within it: teachers have scales of their own, BM25 another for every query,
    and with one temperature for all, some lists would be one-hot and others even. Documents without a score are in neither softmax.
    Of a list with fewer than two scores, or only equal ones, nothing can be learned: its loss is 0, and so is its gradient.

    Args:
        scores: S, ``[B, D]``.
        teacher: ``[B, D]``, nan where there is no score, or no document; what is infinite is no score either.
        temperature: of the scores.
        teacher_temperature: of the standardised ones.
    """
    import torch

    told = teacher.isfinite()
    count = told.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(told, teacher, 0).double()
    centred = torch.where(told, centred - centred.sum(1, keepdim=True) / count, 0)
    spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
    useful = (told.sum(1) > 1) & (spread[:, 0] > 0)
    z = (centred / torch.where(spread > 0, spread, 1)).to(scores.dtype)
    barred = ~(told & useful[:, None])
    barred[~useful, 0] = False  # a softmax over nothing would be nan, in the gradient too
    wanted = (z / teacher_temperature).masked_fill(barred, -torch.inf).log_softmax(1).masked_fill(barred, 0)
    got = (scores / temperature).masked_fill(barred, -torch.inf).log_softmax(1).masked_fill(barred, 0)
    shares = wanted.exp().masked_fill(barred, 0)
    return (shares * (wanted - got)).sum(1) * useful
