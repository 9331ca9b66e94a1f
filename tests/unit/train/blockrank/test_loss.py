"""The loss of lists, by its formula."""

from __future__ import annotations

import numpy as np
import torch

from irkit.train.blockrank.loss import list_loss


def test_the_loss_is_the_share_of_what_is_relevant() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]], dtype=torch.float64)
    there = torch.tensor([[True] * 3, [True, True, False]])
    relevant = torch.tensor([[True, False, True], [False, True, False]])
    e = np.exp(scores.numpy() / 0.1)
    expected = [-np.log((e[0, 0] + e[0, 2]) / e[0].sum()), -np.log(e[1, 1] / e[1, :2].sum())]
    np.testing.assert_allclose(list_loss(scores, there, relevant, 0.1), expected)
