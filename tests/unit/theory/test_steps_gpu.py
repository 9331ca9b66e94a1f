"""The same steps on a GPU, replayed as a graph."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from irkit.theory.free_embeddings import Optimiser, _start, solve
from irkit.theory.steps import Steps, loss_and_gradient

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def made(n: int, dim: int, starts: int) -> Steps:
    judged = torch.tensor(list(combinations(range(n), 2)), device="cuda")
    points = torch.stack([_start(seed, len(judged), n, dim) for seed in range(starts)]).cuda()
    return Steps(points, judged.expand(starts, *judged.shape), 0.01, 0.1, 50)


def test_loss_and_gradient_are_those_of_automatic_differentiation() -> None:
    steps = made(30, 6, starts=3)
    m = steps.relevant.shape[1]
    points = steps.points.double().requires_grad_()
    log = torch.log_softmax(points[:, :m] @ points[:, m:].mT / 0.1, 2)
    wanted = torch.stack([-log[s].gather(1, steps.relevant[s]).mean() for s in range(3)])
    wanted.sum().backward()
    gradient = torch.full_like(steps.points, 7.0)
    loss = loss_and_gradient(steps.points, steps.relevant, 0.1, gradient)
    torch.testing.assert_close(loss.double(), wanted.detach(), rtol=1e-5, atol=0)
    assert points.grad is not None
    assert float((gradient - points.grad).norm() / points.grad.norm()) < 1e-5


def test_a_replayed_graph_makes_the_same_steps() -> None:
    replayed, plain = made(40, 8, starts=2), made(40, 8, starts=2)
    for done in (0, 50, 100):
        plain._forget()
        assert replayed.advance(done, 50) == plain.advance(done, 50)
    assert replayed._graph is not None and plain._graph is None
    assert torch.equal(replayed.points, plain.points)
    for steps in (replayed, plain):
        steps.keep([1])
        steps.advance(150, 50)
    assert torch.equal(replayed.points, plain.points)


def test_what_geometry_allows_is_found_and_no_more() -> None:
    quick = Optimiser(iterations=800, patience=200)
    for n, solved in ((4, True), (5, False)):
        judged = torch.tensor(list(combinations(range(n), 2))).numpy()
        assert any(t.solved for t in solve(judged, n, 3, [0, 1, 2], quick, "cuda")) == solved
