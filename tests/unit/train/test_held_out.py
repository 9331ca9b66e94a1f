"""Held-out queries against a pool: a relevant document counts once, as its query reads it, and only if it can be found."""

from __future__ import annotations

import numpy as np
import pytest

from irkit.train.examples import Example, Examples
from irkit.train.learner import HeldOut, ndcg

EXAMPLES = Examples(
    ["whole 0", "whole 1", "whole 2", "bare 0", "cut 0", "whole 3", "bare 3"],
    [
        Example("title 0", (3,), (1,), "title", held=True),
        Example("learned from", (0,), (1,)),
        Example("judged", (0, 1), (2,), "queries", held=True, also=(5,)),
    ],
    {},
    {
        "groups": [0, 1, 2, 0, 0, 5, 5],
        "places": [[0, 0], [0, 1], [0, 2], [-1, -1], [-1, -1], [0, 3], [-1, -1]],
    },
)


def test_other_readings_of_a_relevant_document_are_not_ranked() -> None:
    """The whole document and the cut one score best for the title, and are not in the way; nor are they found in its stead."""
    held = HeldOut(EXAMPLES, np.arange(7))
    assert held.relevant == [{3}, {0, 1, 5}]
    scores = np.array([[9.0, 3, 2, 5, 8, 1, 0], [9.0, 1, 2, 8, 7, 5, 6]])
    kept = scores.copy()
    values = held.ndcg(scores)
    assert values["title"] == pytest.approx(1.0) and np.array_equal(scores, kept)
    # of the judged query 3, 4 and 6 are left out: 0, 5, 2, 1
    ideal = sum(1 / np.log2([2, 3, 4]))
    assert values["queries"] == pytest.approx(sum(1 / np.log2([2, 3, 5])) / ideal)
    worse = np.array([[9.0, 6, 2, 5, 8, 1, 0], kept[1]])
    assert held.ndcg(worse)["title"] == pytest.approx(1 / np.log2(3))


def test_the_best_ranking_of_a_pool_has_1() -> None:
    held = HeldOut(EXAMPLES, np.array([0, 1, 2, 3, 6]))
    assert held.relevant == [{3}, {0, 1}], "5 is not in the pool, and 6, which is, is another reading of it"
    scores = np.array([[9.0, 3, 2, 5, 4], [5.0, 4, 2, 9, 9]])
    assert held.ndcg(scores) == {"title": 1.0, "queries": 1.0}


def test_a_query_of_which_nothing_can_be_found_has_0() -> None:
    assert ndcg(np.array([[1.0, 2.0]]), [frozenset({7})], [3, 4]).tolist() == [0.0]
