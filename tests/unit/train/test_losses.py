"""InfoNCE against a float64 reference."""

from __future__ import annotations

from math import exp, log

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from irkit.train.losses import info_nce


def reference(scores: np.ndarray, target: list[int], barred: np.ndarray, tau: float) -> float:
    losses = []
    for row, goal, out in zip(scores, target, barred, strict=True):
        total = sum(exp(s / tau) for s, o in zip(row, out, strict=True) if not o)
        losses.append(-log(exp(row[goal] / tau) / total))
    return sum(losses) / len(losses)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 9), st.sampled_from([0.02, 0.1, 1.0]))
def test_it_is_the_formula(seed: int, rows: int, columns: int, tau: float) -> None:
    random = np.random.Generator(np.random.PCG64(seed))
    scores = random.uniform(-1, 1, (rows, columns))
    target = random.integers(columns, size=rows).tolist()
    barred = random.random((rows, columns)) < 0.3
    barred[np.arange(rows), target] = False
    found = info_nce(*map(torch.tensor, (scores, target, barred)), tau)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.item(), reference(scores, target, barred, tau), rtol=1e-9, atol=1e-12)


def test_what_is_barred_has_no_gradient() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    info_nce(scores, torch.tensor([0]), torch.tensor([[False, True, False]]), 0.5).backward()
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.numpy(), [[-1.0, 0.0, 1.0]])  # (p - 1) / tau and p / tau, p = 1/2
