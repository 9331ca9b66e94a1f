"""Answers of a language model as permutations: against a plain reading, and whatever a model may write."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.stages.rerank.permutation import (
    FAULTS,
    Outputs,
    closing,
    marker,
    opening,
    parse,
    unmarked,
    windows,
)


def plain(text: str, count: int) -> list[int]:
    """RankGPT's reading, said letter by letter."""
    words = "".join(char if char in "0123456789" else " " for char in text).split()
    order: list[int] = []
    for word in words:
        place = int(word) - 1
        if place not in order and 0 <= place < count:
            order.append(place)
    return order + [place for place in range(count) if place not in order]


@pytest.mark.parametrize(
    ("text", "order", "faults"),
    [
        ("[2] > [3] > [1]", (1, 2, 0), set()),
        (" [2]>[3] >\n[1]\n", (1, 2, 0), set()),
        ("[3] > [1]", (2, 0, 1), {"missing"}),
        ("[2] > [2] > [3] > [1]", (1, 2, 0), {"repeated"}),
        ("[2] > [4] > [3] > [0] > [1]", (1, 2, 0), {"out of range"}),
        ("[2] > [4] > [4]", (1, 0, 2), {"out of range", "repeated", "missing"}),
        ("The ranking is: 3, 1, 2.", (2, 0, 1), {"other text"}),
        ("[2] > [3] > [1] > ", (1, 2, 0), {"other text"}),
        ("[2] > [3] > [1", (1, 2, 0), {"other text"}),
        ("-2 > 3 > 1", (1, 2, 0), {"other text"}),
        ("I cannot rank these.", (0, 1, 2), {"unusable"}),
        ("", (0, 1, 2), {"unusable"}),
        ("[7] > [8]", (0, 1, 2), {"unusable"}),
        ("[" + "9" * 5000 + "] > [3]", (2, 0, 1), {"out of range", "missing"}),
        ("[\u0663] > [\u00b2] > [2]", (1, 0, 2), {"other text", "missing"}),
        ("[01] > [2] > [3]", (0, 1, 2), set()),
    ],
)
def test_answers(text: str, order: tuple[int, ...], faults: set[str]) -> None:
    found = parse(text, 3)
    assert (found.order, found.faults) == (order, faults)


@given(
    st.text(st.sampled_from("[]> 0123456789abc-\n.\u0663"), max_size=60) | st.text(max_size=40),
    st.integers(1, 25),
)
def test_every_text_is_a_permutation_and_rankgpts(text: str, count: int) -> None:
    found = parse(text, count)
    assert sorted(found.order) == list(range(count))
    assert list(found.order) == plain(text, count)
    assert found.faults <= {*FAULTS, "unusable"}
    assert "unusable" not in found.faults or len(found.faults) == 1


@given(st.permutations(range(20)))
def test_a_permutation_is_well_formed(order: list[int]) -> None:
    found = parse(" > ".join(f"[{place + 1}]" for place in order), 20)
    assert (list(found.order), found.faults) == (order, frozenset())


def test_answers_are_counted_by_their_faults() -> None:
    outputs = Outputs()
    for text in ("[1] > [2]", "[2] > [1]", "[2]", "[2] > [2] > [9]", "no"):
        outputs.add(parse(text, 2))
    assert outputs.counts == {
        "well-formed": 2, "repaired": 2, "missing": 2, "repeated": 1, "out of range": 1, "other text": 0, "unusable": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [(0, 1)]),
        (20, [(0, 20)]),
        (21, [(1, 21), (0, 11)]),
        (25, [(5, 25), (0, 15)]),
        (30, [(10, 30), (0, 20)]),
        (50, [(30, 50), (20, 40), (10, 30), (0, 20)]),
    ],
)
def test_windows_go_from_the_back_to_the_front(count: int, expected: list[tuple[int, int]]) -> None:
    assert windows(count, 20, 10) == expected


@given(st.integers(1, 300), st.integers(2, 30), st.data())
def test_windows_overlap_and_leave_nothing_out(count: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window - 1))
    found = windows(count, window, stride)
    assert {place for start, stop in found for place in range(start, stop)} == set(range(count))
    assert (found[0][1], found[-1][0]) == (count, 0)
    assert all(0 < stop - start <= window for start, stop in found)
    for (start, _), (_, stop) in pairwise(found):
        assert stop - start == window - stride  # what is carried on to the next window


@given(st.text(max_size=30), st.integers(2, 20))
def test_prompts_hold_the_query_as_it_is(query: str, count: int) -> None:
    assert f"query: {query}." in opening(query, count)
    assert f"Query: {query}." in closing(query, count)
    assert f"{count} passages" in opening(query, count)
    assert marker(count) == f"\n[{count}]"


def test_what_looks_like_an_identifier_is_none() -> None:
    assert unmarked("see [3] and [x] {0} [12]") == "see (3) and [x] {0} (12)"
