"""The construction: every combination of k documents in 2k dimensions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from irkit.theory.margin import margin
from irkit.theory.moment_curve import constructed, moment_curve


@pytest.mark.parametrize(("n", "k"), [(3, 1), (40, 1), (3, 2), (5, 2), (60, 2), (7, 3), (18, 3), (9, 4)])
def test_every_combination_is_answered_in_2k_dimensions(n: int, k: int) -> None:
    relevant = np.array(list(combinations(range(n), k)))
    queries, documents = moment_curve(n, relevant)
    assert queries.shape == (len(relevant), 2 * k) and documents.shape == (n, 2 * k)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1)
    scores = queries @ documents.T
    assert (np.sort(np.argsort(-scores, axis=1)[:, :k], axis=1) == relevant).all()
    assert margin(queries, documents, relevant) > 0
    best = np.take_along_axis(scores, relevant, 1)
    np.testing.assert_allclose(best, best[:, :1].repeat(k, 1), atol=1e-12)  # p is zero at all of them


def test_the_margin_falls_with_the_2kth_power() -> None:
    def at(n: int) -> float:
        relevant = np.array(list(combinations(range(n), 2)))
        return margin(*moment_curve(n, relevant), relevant)

    assert at(64) / at(128) == pytest.approx(2**4, rel=0.05)


def test_precision_limits_it() -> None:
    found = constructed(2)
    assert found["float64"] == 512  # the largest that is checked
    assert 4 <= (found["float16"] or 0) < (found["float32"] or 0) < 512
    assert constructed(20) == {"float16": None, "float32": None, "float64": None}  # too many to check
