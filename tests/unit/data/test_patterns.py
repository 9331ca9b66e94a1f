"""Patterns of relevance."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.data.draws import Draws
from irkit.data.patterns import PATTERNS, Pattern, groups, most_groups


@given(st.sampled_from(PATTERNS), st.integers(1, 9), st.data())
def test_groups_are_different_and_of_k_documents(pattern: Pattern, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    most = most_groups(pattern, n, k)
    count = data.draw(st.integers(0, most))
    found = groups(pattern, n, k, count, Draws("a"))
    assert len(found) == len({frozenset(group) for group in found}) == count
    assert all(len(set(group)) == k and set(group) <= set(range(n)) for group in found)


@pytest.mark.parametrize(("pattern", "n", "k", "most"), [
    ("dense", 46, 2, 1035), ("random", 46, 2, 1035), ("cycle", 46, 2, 46), ("cycle", 3, 3, 1), ("disjoint", 47, 2, 23),
])  # fmt: skip
def test_how_many_groups_there_are(pattern: Pattern, n: int, k: int, most: int) -> None:
    assert most_groups(pattern, n, k) == most


def test_each_pattern_is_what_its_name_says() -> None:
    assert groups("dense", 5, 3, 10, Draws("")) == list(combinations(range(5), 3))
    assert groups("cycle", 4, 2, 4, Draws("")) == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert groups("disjoint", 7, 3, 2, Draws("")) == [(0, 1, 2), (3, 4, 5)]


@pytest.mark.parametrize("count", [3, 90])
def test_random_depends_on_its_draws(count: int) -> None:
    assert comb(20, 2) == 190  # few of them are drawn anew, many are shuffled
    assert groups("random", 20, 2, count, Draws("a")) == groups("random", 20, 2, count, Draws("a"))
    assert groups("random", 20, 2, count, Draws("a")) != groups("random", 20, 2, count, Draws("b"))
