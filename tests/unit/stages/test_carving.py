"""Tests of ball carving."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.models.ragged import Ragged
from irkit.stages.multivector.carving import carve, carve_all


def test_similar_tokens_become_their_sum() -> None:
    tokens = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 2]], np.float32)
    np.testing.assert_allclose(carve(tokens, 0.7), [[1.8, 0.6], [0, 3]], atol=1e-6)
    np.testing.assert_allclose(carve(tokens, 0.9), [[1, 0], [0, 3], [0.8, 0.6]], atol=1e-6)
    np.testing.assert_array_equal(carve(tokens, 1.5), tokens)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), threshold=st.floats(0.05, 0.99), n=st.integers(0, 20))
def test_sums_are_kept_and_maxsim_never_grows(seed: int, threshold: float, n: int) -> None:
    random = np.random.default_rng(seed)
    tokens, document = random.normal(size=(n, 4)).astype(np.float32), random.normal(size=(6, 4))
    carved = carve(tokens, threshold)
    assert carved.dtype == np.float32 and len(carved) <= n
    np.testing.assert_allclose(carved.sum(axis=0), tokens.sum(axis=0), atol=1e-5)
    if n:
        score = (tokens @ document.T).max(axis=1).sum()
        assert (carved @ document.T).max(axis=1).sum() <= score + 1e-5


def test_a_zero_token_is_a_ball_of_its_own() -> None:
    tokens = np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    np.testing.assert_array_equal(carve(tokens, 0.7), tokens)


def test_queries_are_carved_one_by_one() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    carved = carve_all(Ragged(np.array([0, 2, 2, 4]), vectors), 0.7)
    assert carved.offsets.tolist() == [0, 1, 1, 3]
    np.testing.assert_array_equal(carved.vectors, [[2, 0], [1, 0], [0, 1]])
    nothing = carve_all(Ragged(np.array([0]), vectors[:0]), 0.7)
    assert nothing.offsets.tolist() == [0] and nothing.vectors.shape == (0, 2)
