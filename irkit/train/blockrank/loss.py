"""The loss of lists whose documents share out attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def list_loss(
    scores: torch.Tensor, there: torch.Tensor, relevant: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return -log(sum over relevant d of e^(S_d / temperature) / sum over all d) of every list, ``[B]`` (Gupta et al., 2025, arXiv
    2510.05396, eq. 5, with the sum over all that is relevant).

    Args:
        scores: S, ``[B, D]``.
        there: ``bool[B, D]``, which documents a list has.
        relevant: ``bool[B, D]``, some of them.
        temperature: of the scores.
    """
    import torch

    logits = scores / temperature
    everything = logits.masked_fill(~there, -torch.inf).logsumexp(1)
    return everything - logits.masked_fill(~relevant, -torch.inf).logsumexp(1)
