"""Losses over a matrix of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(
    scores: torch.Tensor, target: torch.Tensor, barred: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the mean over queries of -log(e^{s_t/tau} / sum_j e^{s_j/tau}) (van den Oord et al. 2018, eq. 4).

    Args:
        scores: ``[B, M]`` of queries and candidates.
        target: ``int64[B]``, the candidate that is relevant.
        barred: ``bool[B, M]``, candidates left out of the sum: relevant too, though not the target.
        temperature: tau.
    """
    import torch

    logits = (scores / temperature).masked_fill(barred, float("-inf"))
    return torch.nn.functional.cross_entropy(logits, target)
