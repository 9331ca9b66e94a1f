"""What a batch's queries are compared with: each document once, the query's own known, other relevant ones left out of its sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_training import toy_recipe

from irkit.train.candidates import Candidates
from irkit.train.examples import Example, Examples

EXAMPLES = Examples(
    [str(n) for n in range(8)],
    [Example("a", (0,), (2, 3, 4)), Example("b", (0, 1), (2, 5)), Example("c", (6,), (7,))],
    {},
)


def drawn(step: int, group: int = 3) -> Candidates:
    return Candidates.draw(toy_recipe(training={"group": group}), EXAMPLES, [0, 1, 2], step)


def test_a_query_has_a_relevant_document_and_negatives_of_its_own() -> None:
    seen = set()
    for step in range(20):
        found = drawn(step)
        assert len(set(found.documents)) == len(found.documents)
        for query, columns in zip(EXAMPLES.queries, found.own, strict=True):
            target, *negatives = (found.documents[column] for column in columns)
            assert target in query.positives and set(negatives) <= set(query.negatives)
            assert len(negatives) == min(2, len(query.negatives)) == len(set(negatives))
        seen.add(tuple(found.documents))
        again = drawn(step)
        assert again.documents == found.documents and again.own == found.own
    assert len(seen) > 5


def test_what_is_relevant_and_not_the_target_is_barred() -> None:
    for step in range(20):
        found = drawn(step)
        for query, own, barred in zip(EXAMPLES.queries, found.own, found.barred, strict=True):
            left_out = {found.documents[column] for column in np.flatnonzero(barred)}
            assert left_out == set(query.positives) & set(found.documents) - {found.documents[own[0]]}


def test_what_is_read_in_another_form_than_the_target_is_barred() -> None:
    """Documents 4 to 7 are read without their titles; with or without one would tell what belongs to a query."""
    examples = Examples(
        EXAMPLES.documents,
        [Example("a", (0,), (2, 3)), Example("b", (5,), (6,)), Example("c", (1,))],
        {},
        {"places": [[0, n] if n < 4 else [-1, -1] for n in range(8)], "groups": [*range(5), 0, 6, 7]},
    )
    found = Candidates.draw(toy_recipe(training={"group": 3}), examples, [0, 1, 2], 0)
    left_out = [{found.documents[place] for place in np.flatnonzero(barred)} for barred in found.barred]
    assert left_out == [{5, 6}, {0, 1, 2, 3}, {5, 6}]


def test_the_loss_is_the_cross_entropy_of_the_targets() -> None:
    found = drawn(0)
    scores = torch.randn(3, len(found.documents), generator=torch.Generator().manual_seed(0))
    expected = []
    for row, own, barred in zip(scores.numpy(), found.own, found.barred, strict=True):
        e = np.exp(row / 0.5)
        expected.append(-np.log(e[own[0]] / e[~barred].sum()))
    assert found.loss(scores, 0.5).item() == pytest.approx(np.mean(expected), rel=1e-5)
