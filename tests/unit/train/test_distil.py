"""Learning from a teacher's scores: the divergence by its formula, its gradient, and what tells nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irkit.core.errors import ConfigError
from irkit.train.distil import Distil, divergence
from irkit.train.examples import Example, Examples

NAN = float("nan")


def test_the_divergence_is_over_what_has_a_score() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.2, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, NAN, -1.0, 2.0]], dtype=torch.float64)
    z = np.array([3.0, -1.0, 2.0])
    z = (z - z.mean()) / z.std() / 0.5
    p = np.exp(z) / np.exp(z).sum()
    s = np.array([0.5, 0.2, 0.0]) / 0.1
    q = np.exp(s) / np.exp(s).sum()
    assert float(divergence(scores, teacher, 0.1, 0.5)) == pytest.approx((p * np.log(p / q)).sum())
    moved = divergence(scores, teacher * 1000 - 7, 0.1, 0.5)
    assert float(moved) == pytest.approx(float(divergence(scores, teacher, 0.1, 0.5)))


def test_a_teacher_that_tells_nothing_apart_adds_nothing() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.2]] * 4, requires_grad=True)
    teacher = torch.tensor([[NAN] * 3, [1.0, NAN, NAN], [2.0, 2.0, NAN], [1.0, 2.0, NAN]])
    found = divergence(scores, teacher, 0.1, 1.0)
    assert found[:3].tolist() == [0, 0, 0] and float(found[3].detach()) > 0
    found.sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
    assert not scores.grad[:3].any() and scores.grad[3, 0] * scores.grad[3, 1] < 0


def test_the_divergence_is_0_where_both_say_the_same() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2]], dtype=torch.float64)
    assert float(divergence(scores, scores * 30 + 5, float(scores.std(correction=0)), 1.0)) == pytest.approx(
        0
    )


def test_the_loss_has_a_weight_and_a_temperature() -> None:
    scores, teacher = torch.tensor([[0.1, 0.4], [0.2, 0.3]]), torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    plain = divergence(scores, teacher, 0.1, 2.0)
    assert plain[0] > 0 and plain[1] == 0
    torch.testing.assert_close(Distil(weight=3.0, temperature=2.0).loss(scores, teacher, 0.1), 3 * plain)


def test_without_a_teacher_there_is_nothing_to_learn_from() -> None:
    asked = Example("a", (0,), (1,))
    with pytest.raises(ConfigError, match="no scores of a teacher"):
        Distil().check(Examples(["b", "c"], [asked], {}))
    Distil().check(Examples(["b", "c"], [asked, Example("d", (0,), scores=(1.0,))], {}))


def test_an_infinite_score_is_none() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.2, 0.0]], requires_grad=True)
    found = divergence(scores, torch.tensor([[3.0, float("inf"), -1.0, -float("inf")]]), 0.1, 0.5)
    expected = divergence(scores, torch.tensor([[3.0, NAN, -1.0, NAN]]), 0.1, 0.5)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
