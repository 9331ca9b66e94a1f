"""Rankings against a naive Python sort, for every finite float32 there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.rankings import HitError, Rankings, offsets_of, row_numbers, sort_segments

MAX = float(np.finfo(np.float32).max)
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0**-149, -(2.0**-149), 2.0**-126, MAX, -MAX]
scores = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32, allow_nan=False, allow_infinity=False))
codes = st.one_of(st.integers(0, 40), st.sampled_from([2**31 - 1, 2**24 + 1]))
query = st.dictionaries(codes, scores, max_size=12)
many = st.lists(query, max_size=8)


def build(queries: list[dict[int, float]]) -> Rankings:
    return Rankings.from_lists([list(q) for q in queries], [list(q.values()) for q in queries])


def naive(hits: dict[int, float]) -> list[tuple[int, float]]:
    return sorted(hits.items(), key=lambda hit: (-hit[1], -hit[0]))


def listed(rankings: Rankings) -> list[list[tuple[int, float]]]:
    return [list(zip(doc.tolist(), score.tolist(), strict=True)) for doc, score in rankings]


@given(many)
def test_order_is_score_then_code_descending(queries: list[dict[int, float]]) -> None:
    rankings = build(queries)
    assert listed(rankings) == [naive(q) for q in queries]
    assert (rankings.offsets.dtype, rankings.doc.dtype, rankings.score.dtype) == (
        np.int64,
        np.int32,
        np.float32,
    )


@given(many, st.randoms())
def test_order_of_input_does_not_matter(queries: list[dict[int, float]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = []
    for q in queries:
        items = list(q.items())
        random.shuffle(items)
        shuffled.append(dict(items))
    assert build(queries) == build(shuffled)


def test_negative_zero_ties_with_zero() -> None:
    rankings = Rankings.from_lists([[1, 2, 3]], [[0.0, -0.0, 0.0]])
    assert rankings.doc.tolist() == [3, 2, 1]
    assert not np.signbit(rankings.score).any()


@given(many, st.integers(1, 6))
def test_top(queries: list[dict[int, float]], k: int) -> None:
    assert listed(build(queries).top(k)) == [naive(q)[:k] for q in queries]


@given(many, st.data())
def test_take_and_concat(queries: list[dict[int, float]], data: st.DataObject) -> None:
    rankings = build(queries)
    rows = data.draw(st.lists(st.sampled_from(range(len(queries))), max_size=6)) if queries else []
    taken = rankings.take(rows)
    assert listed(taken) == [naive(queries[row]) for row in rows]
    assert Rankings.concat([rankings, taken]) == build(queries + [queries[row] for row in rows])


@given(many, st.data())
def test_without(queries: list[dict[int, float]], data: st.DataObject) -> None:
    excluded = [data.draw(st.lists(codes, max_size=4)) for _ in queries]
    result = build(queries).without([np.array(sorted(set(codes)), np.int32) for codes in excluded])
    expected = [
        [hit for hit in naive(q) if hit[0] not in codes] for q, codes in zip(queries, excluded, strict=True)
    ]
    assert listed(result) == expected


@given(many, st.data())
def test_slice(queries: list[dict[int, float]], data: st.DataObject) -> None:
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(queries))] * 2)))
    assert build(queries).slice(start, stop) == build(queries[start:stop])


@given(many)
def test_rank_and_query_of_each_hit(queries: list[dict[int, float]]) -> None:
    rankings = build(queries)
    assert rankings.query.tolist() == [row for row, q in enumerate(queries) for _ in q]
    assert rankings.rank.tolist() == [rank for q in queries for rank in range(len(q))]
    assert rankings.lengths.tolist() == [len(q) for q in queries]


def test_with_scores_sorts_again() -> None:
    rankings = Rankings.from_lists([[5, 6], [7]], [[1, 2], [3]])
    assert rankings.doc.tolist() == [6, 5, 7]
    assert listed(rankings.with_scores([0.5, 4, 1])) == [[(5, 4.0), (6, 0.5)], [(7, 1.0)]]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=30), max_size=12))
def test_sort_segments(segments: list[list[int]]) -> None:
    offsets = offsets_of([len(segment) for segment in segments])
    values = np.array([value for segment in segments for value in segment], np.uint64)
    before = values.copy()
    assert sort_segments(values, offsets).tolist() == [
        value for segment in segments for value in sorted(segment)
    ]
    assert (values == before).all()


def test_sort_segments_of_very_different_lengths() -> None:
    lengths = [1000, 0, *[3] * 50]
    values = np.random.default_rng(1).integers(0, 2**32, sum(lengths), dtype=np.uint32)
    offsets = offsets_of(lengths)
    expected = np.concatenate([np.sort(values[a:b]) for a, b in pairwise(offsets)])
    assert (sort_segments(values, offsets) == expected).all()


def test_read_only_and_mapped_input() -> None:
    doc, score = np.array([1, 2], np.int32), np.array([1, 2], np.float32)
    doc.setflags(write=False)
    score.setflags(write=False)
    assert Rankings.build([0, 2], doc, score).doc.tolist() == [2, 1]
    assert doc.tolist() == [1, 2]


def test_empty() -> None:
    assert len(Rankings.empty(3)) == 3
    assert Rankings.empty(3).top(1) == Rankings.empty(3)
    assert Rankings.from_lists([], []) == Rankings.empty(0) == Rankings.concat([])
    assert Rankings.build([0, 0, 0], [], []) == Rankings.empty(2)
    assert Rankings.empty(2).take([]) == Rankings.empty(0)
    assert Rankings.empty(1) != "rankings"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_score_that_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=r"query number 2: the score of document code 9"):
        Rankings.from_lists([[1], [], [8, 9]], [[1.0], [], [0.5, bad]])
    with pytest.raises(HitError) as caught:
        Rankings.from_lists([[1], [], [8, 9]], [[1.0], [], [0.5, bad]])
    assert (caught.value.query, caught.value.of, caught.value.doc) == (2, 3, 9)


def test_document_twice_in_one_query() -> None:
    with pytest.raises(ValueError, match=r"query number 1 has document code 4 more than once"):
        Rankings.from_lists([[4], [4, 5, 4]], [[1], [1, 2, 3]])
    assert Rankings.from_lists([[4], [4]], [[1], [1]]).doc.tolist() == [4, 4]
    assert Rankings.from_lists([[4], [], [4]], [[1], [], [1]]).doc.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ([-1], "negative"),
        ([2**31], "does not fit int32"),
        ([1.5], "integers"),
        (np.array([True]), "integers"),
    ],
)
def test_bad_codes(doc: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rankings.build([0, 1], doc, [1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("offsets", [[0, 1], [1, 2], [], [0, 2, 1, 2], [0, 3]])
def test_offsets_that_do_not_fit(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        Rankings.build(offsets, [1, 2], [1.0, 2.0])


def test_lists_that_fit_only_in_sum() -> None:
    with pytest.raises(ValueError, match="as many scores as documents"):
        Rankings.from_lists([[1, 2], [3]], [[1.0], [2.0, 3.0]])


def test_rows_are_never_another_row() -> None:
    rankings = Rankings.from_lists([[1], [2]], [[1], [2]])
    for rows in ([2], [-1]):
        with pytest.raises(IndexError, match=r"0\.\.1"):
            rankings.take(rows)
    with pytest.raises(IndexError, match=r"0\.\.1"):
        rankings[-1]
    with pytest.raises(ValueError, match="mask"):
        row_numbers(np.array([True, False]), 2)
    with pytest.raises(ValueError, match="exclusion lists"):
        rankings.without([np.zeros(0, np.int32)])
