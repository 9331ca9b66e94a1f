"""Objectives of late interaction against the formulas, written out with loops in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from irkit.train.losses import info_nce
from irkit.train.multivector import late_interaction
from irkit.train.multivector.late_interaction import Pair, Texts, match_loss, max_sim, mean_of_best, xtr

QUERIES, DOCUMENTS = (3, 1, 4), (5, 2, 7, 1)


def texts(lengths: tuple[int, ...], seed: int, shift: float = 0.0) -> Texts:
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randn(sum(lengths), 6, generator=random, dtype=torch.float64) + shift
    return Texts(vectors.requires_grad_(), torch.tensor(lengths))


def split(some: Texts) -> list[NDArray[np.float64]]:
    ends = some.lengths.cumsum(0)[:-1].tolist()
    return np.split(some.vectors.detach().numpy().astype(np.float64), ends)


def reference(asked: Texts, found: Texts, k: int | None) -> NDArray[np.float64]:
    """MaxSim's mean over query tokens; with k, equation 4 and 5 of XTR."""
    queries, documents = split(asked), split(found)
    scores = np.zeros((len(queries), len(documents)))
    for q, query in enumerate(queries):
        for d, document in enumerate(documents):
            total, z = 0.0, 0
            for token in query:
                products = sorted(
                    (float(token @ other) for each in documents for other in each), reverse=True
                )
                least = products[k - 1] if k else -np.inf
                retrieved = [float(token @ other) for other in document if float(token @ other) >= least]
                total, z = total + max(retrieved, default=0.0), z + bool(retrieved)
            divisor = z if k else len(query)
            scores[q, d] = total / divisor if divisor else 0.0
    return scores


def loss_of(scores: torch.Tensor) -> torch.Tensor:
    barred = torch.zeros(scores.shape, dtype=torch.bool)
    barred[0, 2] = True
    return info_nce(scores, torch.tensor([0, 1, 3]), barred, 0.5)


def reference_loss(scores: NDArray[np.float64]) -> float:
    total = 0.0
    for row, (target, left_out) in enumerate([(0, 2), (1, None), (3, None)]):
        terms = [np.exp(each / 0.5) for column, each in enumerate(scores[row]) if column != left_out]
        total -= np.log(np.exp(scores[row, target] / 0.5) / sum(terms))
    return total / 3


Objective = Callable[[Texts, Texts], torch.Tensor]
OBJECTIVES: dict[str, tuple[Objective, int | None]] = {
    "contrastive": (max_sim, None),
    "xtr-1": (lambda asked, found: xtr(asked, found, 1), 1),
    "xtr-3": (lambda asked, found: xtr(asked, found, 3), 3),
    "xtr-all": (lambda asked, found: xtr(asked, found, 999), sum(DOCUMENTS)),
}


@pytest.mark.parametrize("shift", [0.0, -2.0])  # with -2 most products of document 3's are negative
@pytest.mark.parametrize("name", OBJECTIVES)
def test_scores_loss_and_gradient_are_the_formulas(name: str, shift: float) -> None:
    """The gradient is that of finite differences of the reference."""
    objective, k = OBJECTIVES[name]
    asked, found = texts(QUERIES, 1), texts(DOCUMENTS, 2, shift)
    scores = objective(asked, found)
    assert scores.detach().numpy() == pytest.approx(reference(asked, found, k), abs=1e-12)
    loss = loss_of(scores)
    assert loss.item() == pytest.approx(reference_loss(reference(asked, found, k)), abs=1e-12)
    loss.backward()
    step = 1e-6
    for side in (asked, found):
        assert side.vectors.grad is not None
        values = side.vectors.detach().numpy()
        numeric = np.zeros_like(values)
        for place in np.ndindex(*values.shape):
            before = values[place]
            there = []
            for move in (step, -step):
                values[place] = before + move
                there.append(reference_loss(reference(asked, found, k)))
            values[place] = before
            numeric[place] = (there[0] - there[1]) / (2 * step)
        assert np.abs(numeric).max() > 0.01
        assert side.vectors.grad.numpy() == pytest.approx(numeric, abs=1e-6)


def test_with_all_tokens_retrieved_xtr_is_maxsim() -> None:
    asked, found = texts(QUERIES, 3), texts(DOCUMENTS, 4)
    everything = xtr(asked, found, sum(DOCUMENTS))
    assert torch.equal(everything, max_sim(asked, found))
    assert not torch.allclose(xtr(asked, found, 2), everything)


def test_a_document_that_no_token_retrieves_scores_0_and_has_no_gradient() -> None:
    asked = Texts(torch.eye(2, dtype=torch.float64), torch.tensor([2]))
    vectors = torch.tensor([[1.0, 0.9], [0.5, 0.5], [0.9, 1.0]], dtype=torch.float64, requires_grad=True)
    found = Texts(vectors, torch.tensor([1, 1, 1]))
    scores = xtr(asked, found, 1)
    assert scores.tolist() == [[1.0, 0.0, 1.0]]  # each of Z = 1 token, not of 2
    info_nce(scores, torch.tensor([0]), torch.zeros(1, 3, dtype=torch.bool), 1.0).backward()
    assert vectors.grad is not None
    assert vectors.grad[1].abs().max() == 0 and vectors.grad[0].abs().max() > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_padding_holds_has_no_effect(name: str) -> None:
    objective, _ = OBJECTIVES[name]

    def loss(fill: float) -> tuple[float, torch.Tensor]:
        random = torch.Generator().manual_seed(5)
        padded = torch.randn(3, 7, 6, generator=random, dtype=torch.float64) - 2
        mask = torch.arange(7) < torch.tensor([5, 2, 7])[:, None]
        padded = torch.where(mask[..., None], padded, fill).requires_grad_()
        scores = objective(texts((3, 1), 6), Texts.of(padded, mask))
        value = info_nce(scores, torch.tensor([0, 1]), torch.zeros(2, 3, dtype=torch.bool), 1.0)
        value.backward()
        assert padded.grad is not None
        return float(value), padded.grad

    (first, slope), (second, other) = loss(float("nan")), loss(0.0)
    assert np.isfinite(first) and first == second and torch.equal(slope, other)
    assert slope.isfinite().all()


def test_texts_without_tokens_score_0() -> None:
    asked, found = texts((2, 0), 7), texts((3, 0, 2), 8, shift=-3.0)
    for scores in (max_sim(asked, found), xtr(asked, found, 2), mean_of_best(asked, found)):
        assert scores[1].tolist() == [0.0] * 3 and scores[0, 1] == 0.0 and scores[0, 0] != 0.0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found = texts(QUERIES, 9), texts(DOCUMENTS, 10)
    whole = (max_sim(asked, found), xtr(asked, found, 3), mean_of_best(asked, found))
    monkeypatch.setattr(late_interaction, "_CELLS", 30)
    parts = (max_sim(asked, found), xtr(asked, found, 3), mean_of_best(asked, found))
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert torch.allclose(whole[0], whole[2], rtol=0, atol=1e-12)


def test_texts_are_taken_in_the_order_asked_for() -> None:
    some = texts((2, 0, 3, 1), 11)
    taken = some.take([3, 0, 1, 3])
    assert taken.lengths.tolist() == [1, 2, 0, 1]
    assert torch.equal(taken.vectors, some.vectors[[5, 0, 1, 5]])
    assert torch.equal(Texts.joined([some, taken]).vectors[6:], taken.vectors)


def test_the_loss_of_a_match_is_its_formula() -> None:
    """By loops over tokens and documents."""
    wide = texts((3,), 0), texts((4, 1, 5), 1)
    head = torch.nn.Parameter(torch.eye(2, 6, dtype=torch.float64))

    def short(some: Texts) -> Texts:
        return Texts(torch.nn.functional.normalize(some.vectors @ head.T, dim=1), some.lengths)

    low = short(wide[0]), short(wide[1])
    loss = match_loss(*(Pair(few, all_) for few, all_ in zip(low, wide, strict=True)))
    errors = np.zeros((2, 3, 3))
    (asked,), (mine,) = split(wide[0]), split(low[0])
    for d, (found, lower) in enumerate(zip(split(wide[1]), split(low[1]), strict=True)):
        for i in range(3):
            right, given = found @ asked[i], lower @ mine[i]
            for by, products in enumerate((right, given)):
                best = products.argmax()
                errors[by, i, d] = given[best] - right[best]
    of_token, of_query = errors - errors.mean(axis=(0, 2))[:, None], errors[0].sum(axis=0)
    expected = 100 * np.mean(of_token**2) + np.mean((of_query - of_query.mean()) ** 2)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    assert head.grad is not None and head.grad.abs().sum() > 0


def test_a_match_with_all_dimensions_costs_nothing() -> None:
    query, documents = texts((3,), 0), texts((4, 1, 5), 1)
    assert match_loss(Pair(query, query), Pair(documents, documents)).item() == pytest.approx(0, abs=1e-12)
