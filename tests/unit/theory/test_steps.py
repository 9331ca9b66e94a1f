"""The steps of free embeddings: the loss against automatic differentiation in float64, and torch's own Adam."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from irkit.theory.free_embeddings import _start
from irkit.theory.steps import Steps, loss_and_gradient


def pairs(n: int) -> torch.Tensor:
    return torch.tensor(list(combinations(range(n), 2)))


def made(n: int, dim: int, starts: int, every: int) -> Steps:
    judged = pairs(n)
    points = torch.stack([_start(seed, len(judged), n, dim) for seed in range(starts)])
    return Steps(points, judged.expand(starts, *judged.shape), 0.01, 0.1, every)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("n", "k", "dim"), [(5, 2, 3), (6, 1, 4), (7, 3, 2)])
def test_loss_and_gradient_are_those_of_automatic_differentiation(n: int, k: int, dim: int) -> None:
    judged = torch.tensor(list(combinations(range(n), k)))
    m = len(judged)
    points = torch.randn(2, m + n, dim, dtype=torch.float64, requires_grad=True)
    log = torch.log_softmax(points[:, :m] @ points[:, m:].transpose(1, 2) / 0.3, 2)
    wanted = torch.stack([-log[s].gather(1, judged).mean() for s in range(2)])
    wanted.sum().backward()
    gradient = torch.full_like(points, 7.0)
    with torch.no_grad():
        loss = loss_and_gradient(points.detach(), judged.expand(2, m, k), 0.3, gradient)
    torch.testing.assert_close(loss, wanted.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, points.grad, rtol=1e-10, atol=1e-14)


def test_the_steps_are_adams_with_lengths_set_back() -> None:
    judged = pairs(6)
    steps = made(6, 3, starts=2, every=25)
    losses = steps.advance(0, 10)
    losses = [a + b for a, b in zip(losses, steps.advance(10, 15), strict=True)]
    for at, seed in enumerate((0, 1)):
        points = _start(seed, len(judged), 6, 3).double().requires_grad_()
        adam, wanted = torch.optim.Adam([points], lr=0.01), list[float]()
        for _ in range(25):
            adam.zero_grad()
            log = torch.log_softmax(points[: len(judged)] @ points[len(judged) :].T / 0.1, 1)
            loss = -log.gather(1, judged).mean()
            loss.backward()
            wanted.append(loss.item())
            adam.step()
            with torch.no_grad():
                points /= points.norm(dim=1, keepdim=True)
        torch.testing.assert_close(steps.points[at].double(), points.detach(), rtol=1e-3, atol=1e-4)
        assert losses[at] == pytest.approx(wanted, rel=1e-4)


def test_a_start_that_stays_goes_on_as_if_alone() -> None:
    both, alone = made(7, 4, starts=2, every=20), made(7, 4, starts=2, every=20)
    alone.keep([1])
    for done in (0, 20, 40):
        together = both.advance(done, 20)[-1]
        if done == 20:
            both.keep([1])
        assert alone.advance(done, 20)[-1] == pytest.approx(together, rel=1e-4)
    assert both.points.shape == alone.points.shape == (1, 21 + 7, 4)
    torch.testing.assert_close(both.points, alone.points, rtol=1e-3, atol=1e-4)
