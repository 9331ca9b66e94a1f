"""Tests of reranking to a depth: what is not reranked keeps its order, ties and distances below what is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from irkit.core.rankings import Rankings
from irkit.stages.rerank.depth import below, rerank

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
UNITS = st.integers(-400, 400).map(lambda n: n / 64)


@given(least=FLOATS, old=st.lists(FLOATS, min_size=2, max_size=60))
@example(least=0.0, old=[1.0, 1.0, 1.0])
@example(least=-0.0, old=[0.0, -0.0, -1e-45])
@example(least=1e6, old=[1e-6, 9e-7, 8e-7, 8e-7, 7e-7])  # differences that float32 cannot hold there
@example(least=-3.4e38, old=[3.4e38, 0.0, -3.3e38, -3.4e38])  # results that float32 cannot hold
def test_order_and_ties_are_kept_below(least: float, old: list[float]) -> None:
    scores = -np.sort(-np.array(old, np.float32))
    moved = below(np.float32(least), scores)
    assert moved.dtype == np.float32 and np.isfinite(moved).all()
    assert (moved < np.float32(least)).all()
    np.testing.assert_array_equal(np.diff(moved) < 0, np.diff(scores[1:]) < 0)
    assert (np.diff(moved) <= 0).all()


@given(least=UNITS, old=st.lists(UNITS, min_size=2, max_size=60, unique=True))
def test_differences_are_kept(least: float, old: list[float]) -> None:
    scores = -np.sort(-np.array(old, np.float32))
    np.testing.assert_array_equal(below(np.float32(least), scores), least - (scores[0] - scores[1:]))


@given(
    scores=st.lists(st.lists(UNITS, max_size=12), min_size=1, max_size=4),
    depth=st.none() | st.integers(1, 14),
    new=st.floats(-50, 50, width=32),
)
def test_reranking_keeps_the_rest_as_it_was(scores: list[list[float]], depth: int | None, new: float) -> None:
    before = Rankings.from_lists([np.arange(len(each)) for each in scores], scores)
    after = rerank(before, depth, lambda query, docs: (new + query + docs % 3).astype(np.float32))
    for query in range(len(scores)):
        (old_docs, old), (docs, found) = before[query], after[query]
        cut = len(old) if depth is None else min(depth, len(old))
        assert sorted(docs[:cut]) == sorted(old_docs[:cut])
        np.testing.assert_array_equal(found[:cut], (new + query + docs[:cut] % 3).astype(np.float32))
        assert docs[cut:].tolist() == old_docs[cut:].tolist()
        if cut < len(old):
            assert found[cut - 1] > found[cut]
            np.testing.assert_allclose(np.diff(found[cut:]), np.diff(old[cut:]), atol=1e-4)


@given(old=st.lists(FLOATS, max_size=12), depth=st.none() | st.integers(1, 14))
def test_a_query_that_gets_no_scores_stays_as_it_was(old: list[float], depth: int | None) -> None:
    before = Rankings.from_lists([np.arange(len(old))] * 2, [old] * 2)
    after = rerank(before, depth, lambda query, docs: None if query == 0 else np.float32(-docs))
    assert after.take([0]) == before.take([0])
    cut = len(old) if depth is None else min(depth, len(old))
    assert after[1][0][:cut].tolist() == sorted(before[1][0][:cut])


def test_what_follows_does_not_ruin_a_sum_of_scores() -> None:
    """Beside candidates of 20 to 30, estimates of 8 to 12 end at 16, not at thousands below zero."""
    old = np.linspace(12, 8, 1000, dtype=np.float32)
    before = Rankings.from_lists([np.arange(1000)], [old])
    after = rerank(before, 200, lambda _query, docs: np.linspace(30, 20, len(docs), dtype=np.float32))
    assert after.score[-1] == pytest.approx(20 - (old[199] - 8), abs=1e-4)
