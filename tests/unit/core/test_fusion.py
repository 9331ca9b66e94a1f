"""Fusion against ranx where ranx defines it, against formulas written out with dicts, and by hand where we differ from ranx."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.fusion import RANK_METHODS, Method, check_weights, fuse, normalise
from irkit.core.rankings import Rankings

scores = st.one_of(st.integers(-3, 3).map(float), st.floats(-1000, 1000, width=32))
queries = st.dictionaries(st.integers(0, 15), scores, max_size=8)
runs = st.integers(0, 5).flatmap(
    lambda n: st.lists(st.lists(queries, min_size=n, max_size=n), min_size=1, max_size=4)
)


def build(run: list[dict[int, float]]) -> Rankings:
    return Rankings.from_lists([list(q) for q in run], [list(q.values()) for q in run])


def by_document(rankings: Rankings) -> list[dict[int, float]]:
    return [dict(zip(doc.tolist(), score.tolist(), strict=True)) for doc, score in rankings]


def naive_norm(hits: list[tuple[int, float]], norm: str) -> list[float]:
    values = [score for _, score in hits]
    if norm == "none" or not values:
        return values
    if norm == "min-max":
        low, high = min(values), max(values)
        return [1.0 if low == high else (v - low) / (high - low) for v in values]
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    return [0.0 if min(values) == max(values) else (v - mean) / deviation for v in values]


def naive(
    all_hits: list[list[tuple[int, float]]], method: str, norm: str, weights: list[float], k: float
) -> dict[int, float]:
    """One query: hits of each ranking in canonical order -> fused score of each document."""
    all_hits = [hits for hits, w in zip(all_hits, weights, strict=True) if w]
    weights = [w for w in weights if w]
    union = {doc for hits in all_hits for doc, _ in hits}
    fused = {}
    for doc in union:
        parts = []
        for hits, w in zip(all_hits, weights, strict=True):
            docs = [d for d, _ in hits]
            if method == "borda":
                points = len(union) - docs.index(doc) if doc in docs else (len(union) - len(docs) + 1) / 2
                parts.append(w * points)
            elif doc in docs:
                rank = docs.index(doc)
                parts.append(w / (k + rank + 1) if method == "rrf" else w * naive_norm(hits, norm)[rank])
        fused[doc] = (
            max(parts) if method == "combmax" else sum(parts) * (len(parts) if method == "combmnz" else 1)
        )
    return fused


@settings(max_examples=150, deadline=None)
@given(runs, st.sampled_from(get_args(Method)), st.sampled_from(["none", "min-max", "z-score"]), st.data())
def test_equals_the_formula(run_list, method, norm, data) -> None:  # type: ignore[no-untyped-def]
    norm = "none" if method in RANK_METHODS else norm
    weights = data.draw(
        st.lists(
            st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=len(run_list), max_size=len(run_list)
        ).filter(any)
    )
    rankings = [build(run) for run in run_list]
    fused = fuse(rankings, method, norm=norm, weights=weights, rrf_k=7)
    for query, got in enumerate(by_document(fused)):
        hits = [list(zip(*(column.tolist() for column in r[query]), strict=True)) for r in rankings]
        expected = naive(hits, method, norm, weights, 7)
        assert got.keys() == expected.keys()
        for doc, score in got.items():
            assert score == pytest.approx(expected[doc], rel=1e-5, abs=1e-4)
    assert fused == Rankings.build(fused.offsets, fused.doc, fused.score), "canonical"


@settings(max_examples=60, deadline=None)
@given(runs, st.sampled_from(get_args(Method)), st.data())
def test_a_query_does_not_depend_on_the_others(run_list, method, data) -> None:  # type: ignore[no-untyped-def]
    rankings = [build(run) for run in run_list]
    rows = (
        data.draw(st.lists(st.sampled_from(range(len(rankings[0]))), max_size=5)) if len(rankings[0]) else []
    )
    norm = "none" if method in RANK_METHODS else data.draw(st.sampled_from(["min-max", "z-score"]))
    together = fuse(rankings, method, norm=norm).take(rows)
    assert fuse([r.take(rows) for r in rankings], method, norm=norm) == together


def random_run(rng: np.random.Generator, n_queries: int, k: int, n_docs: int) -> Rankings:
    """A run without ties: ranx leaves those to chance."""
    docs = [rng.choice(n_docs, k, replace=False) for _ in range(n_queries)]
    return Rankings.from_lists(docs, [rng.permutation(10 * n_docs)[:k] / 7 for _ in docs])


def test_depends_on_the_query_alone_when_long() -> None:
    rng = np.random.default_rng(3)
    pair = [random_run(rng, 20, 500, 2000), random_run(rng, 20, 300, 2000)]
    whole = fuse(pair, "combsum", norm="z-score")
    parts = [
        fuse([r.take(rows) for r in pair], "combsum", norm="z-score")
        for rows in ([0], range(1, 8), range(8, 20))
    ]
    assert Rankings.concat(parts) == whole


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_does_not_depend_on_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    docs = [[rng.choice(90, n, replace=False) for n in rng.integers(0, 30, 40)] for _ in range(3)]
    trio = [Rankings.from_lists(run, [rng.integers(0, 9, len(d)) for d in run]) for run in docs]
    whole = fuse(trio, "combmnz", norm="min-max")
    monkeypatch.setattr("irkit.core.fusion._BLOCK", block)
    assert fuse(trio, "combmnz", norm="min-max") == whole
    assert len(fuse([Rankings.empty(0)])) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "norm", "ranx_method", "ranx_norm"),
    [
        ("rrf", "none", "rrf", None),
        ("combsum", "none", "sum", None),
        ("combmnz", "none", "mnz", None),
        ("combmax", "none", "max", None),
        ("combsum", "min-max", "sum", "min-max"),
        ("combmnz", "min-max", "mnz", "min-max"),
        ("combsum", "z-score", "sum", "zmuv"),
        ("borda", "none", "bordafuse", None),
    ],
)
def test_equals_ranx(method, norm, ranx_method, ranx_norm) -> None:  # type: ignore[no-untyped-def]
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(11)
    ours = [random_run(rng, 6, k, 120) for k in (40, 60, 25)]
    theirs = [
        ranx.Run(
            {
                f"q{q}": {f"d{doc}": score for doc, score in hits.items()}
                for q, hits in enumerate(by_document(r))
            }
        )
        for r in ours
    ]
    expected = ranx.fuse(theirs, norm=ranx_norm, method=ranx_method).to_dict()
    for query, hits in enumerate(by_document(fuse(ours, method, norm=norm))):
        wanted = {int(docno[1:]): score for docno, score in expected[f"q{query}"].items()}
        assert hits.keys() == wanted.keys()
        assert list(hits.values()) == pytest.approx([wanted[doc] for doc in hits], rel=2e-7, abs=1e-6)


def test_equals_ranx_weighted_sum_by_hand() -> None:
    a, b = Rankings.from_lists([[1, 2, 3]], [[3, 2, 1]]), Rankings.from_lists([[3, 4]], [[9, 5]])
    fused = by_document(fuse([a, b], "combsum", norm="min-max", weights=[0.25, 0.75]))[0]
    assert fused == {3: 0.75, 1: 0.25, 2: 0.125, 4: 0.0}


def test_rrf_breaks_ties_canonically() -> None:
    a = Rankings.from_lists([[1, 2]], [[5, 5]])  # a tie: 2 is first
    b = Rankings.from_lists([[7]], [[1]])
    fused = fuse([a, b], "rrf")
    assert fused.doc.tolist() == [7, 2, 1]  # 7 and 2 tie at 1/61
    assert fused.score.tolist() == pytest.approx([1 / 61, 1 / 61, 1 / 62])


def test_equal_scores() -> None:
    """Where we leave ranx: the only document that a ranking has is its best, not as good as missing."""
    one, flat = Rankings.from_lists([[4]], [[-7]]), Rankings.from_lists([[4, 5]], [[0.1, 0.1]])
    assert normalise(one, "min-max").tolist() == [1.0]
    assert normalise(flat, "min-max").tolist() == [1.0, 1.0]
    assert normalise(one, "z-score").tolist() == [0.0]
    assert normalise(flat, "z-score").tolist() == [0.0, 0.0]
    assert normalise(Rankings.empty(2), "z-score").tolist() == []


def test_tiny_and_huge_spreads() -> None:
    tiny = 2.0**-149
    assert normalise(Rankings.from_lists([[1, 2, 3]], [[0, tiny, 2 * tiny]]), "min-max").tolist() == [
        1.0,
        0.5,
        0.0,
    ]
    largest = float(np.finfo(np.float32).max)
    values = normalise(Rankings.from_lists([[1, 2]], [[largest, -largest]]), "z-score").tolist()
    assert values == [1.0, -1.0]


@pytest.mark.parametrize("method", get_args(Method))
def test_one_ranking_keeps_its_documents_and_input_is_untouched(method) -> None:  # type: ignore[no-untyped-def]
    ranking = Rankings.from_lists([[3, 1], [], [2]], [[2, 1], [], [5]])
    copies = ranking.doc.copy(), ranking.score.copy()
    fused = fuse([ranking], method)
    assert [sorted(hits) for hits in by_document(fused)] == [[1, 3], [], [2]]
    assert fused[0][0].tolist() == [3, 1]
    assert (ranking.doc == copies[0]).all()
    assert (ranking.score == copies[1]).all()


def test_order_of_summation_is_the_order_of_the_rankings() -> None:
    values = [1e8, 1.0, -1e8]
    parts = [Rankings.from_lists([[0]], [[v]]) for v in values]
    assert fuse(parts, "combsum").score.tolist() == [1.0]
    assert fuse([*parts, *parts], "combmnz").score.tolist() == [2.0 * 6]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: fuse([]), "nothing to fuse"),
        (lambda r: fuse([r, Rankings.empty(2)]), "different numbers of queries"),
        (lambda r: fuse([r, r], weights=[1.0]), "1 weights for 2 rankings"),
        (lambda r: fuse([r], weights=[-1.0]), "not negative"),
        (lambda r: fuse([r, r], weights=[0.0, 0.0]), "not all 0"),
        (lambda r: fuse([r], weights=[math.nan]), "finite"),
        (lambda r: fuse([r], "rrf", norm="min-max"), "looks at ranks"),
        (lambda r: fuse([r], rrf_k=-1), "rrf_k"),
        (lambda r: fuse([r, r], "combsum"), "range of float32"),
    ],
)
def test_refused(call: Callable[[Rankings], Rankings], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Rankings.from_lists([[1]], [[float(np.finfo(np.float32).max)]]))


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_weight_of_zero_is_absence(method: str, place: int) -> None:
    a = Rankings.from_lists([[1, 2], [4]], [[-1.0, -2.0], [3.0]])
    b = Rankings.from_lists([[2, 3, 5], []], [[-5.0, -6.0, -7.0], []])
    ignored = Rankings.from_lists([[9, 1, 2, 3], [4, 8]], [[9.0, 8.0, 7.0, 6.0], [1.0, 0.5]])
    three, weights = [a, b], [2.0, 0.5]
    three.insert(place, ignored)
    weights.insert(place, 0.0)
    assert fuse(three, method, weights=weights) == fuse([a, b], method, weights=[2.0, 0.5])  # type: ignore[arg-type]


def test_weights_default_to_one() -> None:
    assert check_weights(None, 3) == [1.0, 1.0, 1.0]
    assert check_weights((1, 0), 2) == [1.0, 0.0]
