"""Wins, ties and losses against the baseline, and where the differences fall."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.report.compare import BINS, CompareTable, compare_tables
from irkit.report.results import PerQuery, Results


def _tables(make: Callable[..., Results], base: list[float], ours: list[float]) -> list[CompareTable]:
    results = make(metrics=["m"], pipelines={"a": [], "b": []}, baseline="a")
    values = {"a": {"m": base}, "b": {"m": ours}}
    qid = [str(i) for i in range(len(base))]
    return compare_tables(results, [PerQuery(collection="c", qid=qid, values=values)])


def test_counts_mean_and_bins(make: Callable[..., Results]) -> None:
    (table,) = _tables(make, [0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.4, 0.99])
    (row,) = table.rows
    assert (row.wins, row.ties, row.losses) == (1, 1, 2)
    assert row.mean == pytest.approx((1.0 - 0.1 - 0.01) / 4)
    assert row.histogram.wins == (0,) * (BINS - 1) + (1,)
    assert row.histogram.losses[-1] == 1  # -0.01 stands next to zero
    assert row.histogram.losses[-2] == 1  # -0.1 is the second of twelve bins
    assert row.histogram.limit == 1.0


def test_rounding_noise_is_a_tie(make: Callable[..., Results]) -> None:
    (table,) = _tables(make, [0.1 + 0.2], [0.3])
    assert table.rows[0].ties == 1
    assert table.rows[0].histogram.top == 0


def test_swapping_the_two_mirrors_everything(make: Callable[..., Results]) -> None:
    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
    def mirrored(pairs: list[tuple[float, float]]) -> None:
        one, two = [a for a, _ in pairs], [b for _, b in pairs]
        there, back = _tables(make, one, two)[0].rows[0], _tables(make, two, one)[0].rows[0]
        assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
        assert there.histogram.wins == back.histogram.losses[::-1]
        assert there.wins + there.ties + there.losses == len(pairs)

    mirrored()


def test_a_pipeline_without_values_is_named(make: Callable[..., Results]) -> None:
    results = make(metrics=["m"], pipelines={"a": [], "b": [], "c": []}, baseline="a")
    values = {"a": {"m": [0.1]}, "b": {"m": [0.2]}}
    (table,) = compare_tables(results, [PerQuery(collection="c", qid=["1"], values=values)])
    assert table.absent == ("c",)


def test_without_baseline_or_values_there_is_nothing(
    make: Callable[..., Results], per_query: list[PerQuery]
) -> None:
    assert compare_tables(make(baseline=None), per_query) == []
    assert compare_tables(make(), []) == []
    assert compare_tables(make(baseline="other"), per_query) == []
