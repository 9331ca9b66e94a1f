"""Tests of what computes MaxSim: exact scores against plain float64, the fixed order of addition, bounds, blocks and threads."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from irkit.core.rankings import Rankings, offsets_of
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.stages.multivector import maxsim_cpu, maxsim_kernels, scoring, threads
from irkit.stages.multivector.maxsim_cpu import CpuEngine
from irkit.stages.multivector.maxsim_torch import TorchEngine
from irkit.stages.multivector.scoring import MaxSimScorer, Shortlist, floor_of, score_error
from irkit.stages.multivector.tokens import FloatTokens, Tokens

LONG = 2.0**-20
"""The grid of query vectors."""


class Hidden(Tokens):
    """Vectors that can be had through the interface only, as those of a codec."""

    def __init__(self, inner: Tokens) -> None:
        self.inner, self.offsets, self.dim, self.longest = inner, inner.offsets, inner.dim, inner.longest

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.inner.take(rows)

    def span(self, start: int, stop: int) -> np.ndarray:
        return self.inner.span(start, stop)


def stack(parts: list[np.ndarray], dim: int) -> Ragged:
    offsets = offsets_of([len(part) for part in parts])
    return Ragged(offsets, np.concatenate([np.zeros((0, dim)), *parts]).astype(np.float32))


def documents(parts: list[np.ndarray], dim: int) -> Tokens:
    made = stack(parts, dim)
    return Tokens.of(made.offsets, made.vectors.astype(np.float16))


def plain(query: np.ndarray, tokens: Tokens) -> np.ndarray:
    """The definition in float64, rounded once; a document without tokens gets what no other falls below."""
    asked = np.round(query.astype(np.float64) / LONG) * LONG
    lowest = tokens.longest * math.fsum(math.sqrt((each * each).sum()) for each in asked)
    scores = np.full(len(tokens), 0.0 - lowest)
    for doc in range(len(tokens)):
        rows = tokens.span(int(tokens.offsets[doc]), int(tokens.offsets[doc + 1])).astype(np.float64)
        if len(rows):
            scores[doc] = (asked @ rows.T).max(axis=1).sum()
    return scores.astype(np.float32)


def vectors(rng: np.random.Generator, count: int, dim: int, kind: str) -> np.ndarray:
    made = unit(rng.normal(size=(count, dim)) + 1e-9)
    if kind == "repeated":
        made = made[rng.integers(0, max(1, count // 3), count)] if count else made
    elif kind == "near":  # all within a unit in the last place of float16
        made = made[:1] * (1 + rng.integers(-1, 2, made.shape) * 2.0**-11)
    elif kind == "opposed":
        made = -np.abs(made)
    elif kind == "long":
        made = made * rng.choice([0.25, 1.0, 4.0], (count, 1))
    return made.astype(np.float32)


KINDS = ["random", "repeated", "near", "opposed", "long"]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dim=st.sampled_from([1, 2, 7, 8, 16, 31, 128]),
    lengths=st.lists(st.integers(0, 25), max_size=20),
    asked=st.lists(st.sampled_from([0, 1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 40, 65]), max_size=3),
    kind=st.sampled_from(KINDS),
    block=st.sampled_from([None, 1, 10, 33]),
)
@example(seed=0, dim=128, lengths=[0, 0], asked=[3, 0], kind="random", block=None)
@example(seed=0, dim=8, lengths=[], asked=[], kind="random", block=None)
def test_every_engine_is_the_definition_to_the_bit(
    seed: int, dim: int, lengths: list[int], asked: list[int], kind: str, block: int | None
) -> None:
    rng = np.random.default_rng(seed)
    tokens = documents([vectors(rng, length, dim, kind) for length in lengths], dim)
    queries = stack([np.abs(vectors(rng, length, dim, "random")) for length in asked], dim)
    docs = [rng.permutation(len(lengths)).astype(np.int32) for _ in asked]
    expected = [plain(queries[number], tokens)[docs[number]] for number in range(len(asked))]
    rankings = Rankings(
        offsets_of([len(each) for each in docs]),
        np.concatenate([np.zeros(0, np.int32), *docs]),
        np.zeros(sum(map(len, docs)), np.float32),
    )
    for some in (tokens, Hidden(tokens)):
        got = MaxSimScorer(some, block=block).rescore_all(queries, rankings)
        assert np.array_equal(got, np.concatenate([np.zeros(0, np.float32), *expected]))
    by_torch = MaxSimScorer(tokens)
    by_torch._engine = TorchEngine(tokens, "cpu", block)
    assert np.array_equal(by_torch.rescore_all(queries, rankings), got)


def test_winners_that_float32_cannot_tell_are_settled() -> None:
    """Large terms cancel, and what is left of them in float32 hides the small terms that decide."""
    rng = np.random.default_rng(0)
    dim, parts, hidden = 64, [], 0
    query = np.zeros((1, dim), np.float32)
    query[0, 0] = query[0, -1] = 0.5
    query[0, 1:-1] = rng.integers(1, 9, dim - 2) * LONG
    for _ in range(50):
        rows = np.zeros((30, dim), np.float16)
        rows[:, 0], rows[:, -1] = 0.5, -0.5
        rows[:, 1:-1] = rng.integers(-8, 9, (30, dim - 2)) * 2.0**-10
        parts.append(rows)
        near = np.zeros(30, np.float32)
        for column in range(dim):
            near += rows[:, column].astype(np.float32) * query[0, column]
        exact = rows.astype(np.float64) @ query[0].astype(np.float64)
        hidden += exact[np.argmax(near)] < exact.max()
    assert hidden > 10  # the float32 winner is often another one
    tokens = documents(parts, dim)
    got = MaxSimScorer(tokens).rescore(query, np.arange(50, dtype=np.int32))
    assert np.array_equal(got, plain(query, tokens))
    assert (got > 0).all()


def test_sums_are_taken_in_one_order_where_they_round() -> None:
    """Lane i adds the coordinates i, i + 8, ...; then halves of the lanes; then query tokens one by one."""
    rng = np.random.default_rng(2)
    dim = 29
    parts = [
        (rng.normal(size=(n, dim)) * 10.0 ** rng.integers(-3, 4, (n, dim))).clip(-6e4, 6e4)
        for n in (1, 5, 40)
    ]
    tokens = documents(parts, dim)
    query = (rng.normal(size=(300, dim)) * 1000).astype(np.float32)
    asked = np.zeros((300, 32))
    asked[:, :dim] = np.round(query.astype(np.float64) / LONG) * LONG
    expected = []
    for part in parts:
        rows = np.zeros((len(part), 32))
        rows[:, :dim] = part.astype(np.float32).astype(np.float16)
        lanes = np.zeros((300, len(part), 8))
        for start in range(0, 32, 8):
            lanes += asked[:, None, start : start + 8] * rows[None, :, start : start + 8]
        while lanes.shape[2] > 1:
            half = lanes.shape[2] // 2
            lanes = lanes[:, :, :half] + lanes[:, :, half:]
        total = 0.0
        for best in lanes[:, :, 0].max(axis=1):
            total += best
        expected.append(total)
    engine = CpuEngine(tokens)
    lowest = np.zeros(3)
    prepared = engine._prepare(asked[:, :dim].astype(np.float32))
    engine._run(prepared, engine._resident, tokens.offsets[:-1], tokens.lengths, lowest)
    assert lowest.tolist() == expected


@pytest.mark.parametrize("dim", [20, 384])
def test_a_scan_is_within_its_error_bound(dim: int) -> None:
    rng = np.random.default_rng(dim)
    tokens = documents([vectors(rng, n, dim, "long") for n in rng.integers(0, 30, 70)], dim)
    queries = stack([vectors(rng, n, dim, "random") for n in (5, 0, 20, 16, 1, 33)], dim)
    queries = Ragged(queries.offsets, (np.round(queries.vectors / LONG) * LONG).astype(np.float32))
    for engine in (CpuEngine(tokens), CpuEngine(Hidden(tokens), block=7), TorchEngine(tokens, "cpu", 50)):
        found = np.full((6, 70), np.nan, np.float32)
        for first, near in engine.scan(queries):
            found[:, first : first + near.shape[1]] = near
        assert (found[:, tokens.lengths == 0] == 0).all()
        found[:, tokens.lengths == 0] = floor_of(queries, tokens.longest)[:, None]
        for number in range(6):
            error = score_error(queries[number], tokens.longest)
            assert error < 1e-2
            assert np.abs(found[number].astype(np.float64) - plain(queries[number], tokens)).max() <= error


@settings(max_examples=50, deadline=None)
@given(
    exact=st.lists(st.integers(-5, 5), min_size=1, max_size=60).map(lambda some: some * 3),
    depth=st.integers(1, 12),
    error=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 100),
)
def test_a_shortlist_keeps_what_can_be_among_the_best(
    exact: list[int], depth: int, error: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    true = np.array(exact, np.float64)
    near = (true + rng.uniform(-error, error, len(true))).astype(np.float32)
    shortlist = Shortlist(depth, error + 1e-6)
    at = 0
    while at < len(near):
        step = int(rng.integers(1, 9))
        shortlist.add(at, near[at : at + step])
        shortlist._cut()  # as a long list would
        at += step
    kept = shortlist.documents()
    assert (np.diff(kept) > 0).all()
    depth = min(depth, len(true))
    assert set(np.flatnonzero(true >= np.sort(true)[-depth])) <= set(kept.tolist())
    certainly_out = near < np.sort(near)[-depth] - 2 * error - 1e-3
    assert not set(np.flatnonzero(certainly_out)) & set(kept.tolist())


def test_shortlists_are_cut_and_documents_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    tokens = documents([vectors(rng, n, 16, "repeated") for n in rng.integers(0, 6, 500)], 16)
    queries = stack([vectors(rng, n, 16, "random") for n in (3, 4, 0, 9)], 16)
    expected = MaxSimScorer(tokens).search(queries, 7)
    monkeypatch.setattr(scoring, "_MARGIN", 0)
    monkeypatch.setattr(scoring, "_TOGETHER", 7)
    monkeypatch.setattr(maxsim_cpu, "_DECODE", 20)
    monkeypatch.setattr(maxsim_cpu, "_CELLS", 30)
    for some in (tokens, Hidden(tokens)):
        assert MaxSimScorer(some, threads=3).search(queries, 7) == expected
    scorer = MaxSimScorer(tokens)
    scorer._engine = TorchEngine(tokens, "cpu", 40)
    assert scorer.search(queries, 7) == expected
    for number in range(4):
        score = plain(queries[number], tokens)
        order = np.lexsort((-np.arange(500), -score))[:7]
        assert expected[number][0].tolist() == order.tolist()
        assert np.array_equal(expected[number][1], score[order])


def test_one_thread_is_one_thread_and_more_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    tokens = documents([vectors(rng, n, 32, "random") for n in rng.integers(0, 50, 300)], 32)
    queries = stack([vectors(rng, n, 32, "random") for n in (20, 32)], 32)
    made: list[int] = []

    class Pool(threads.ThreadPoolExecutor):
        def __init__(self, workers: int, *rest: str) -> None:
            made.append(workers)
            super().__init__(workers, *rest)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    expected = MaxSimScorer(tokens).search(queries, 100)
    assert made == []
    docs = expected[0][0]
    for count in (2, 5):
        scorer = MaxSimScorer(tokens, threads=count)
        assert np.array_equal(scorer.rescore(queries[0], docs), expected[0][1])
        assert made[-1] == count  # one query is cut up
        assert np.array_equal(scorer.rescore_all(queries, expected), expected.score)
        assert scorer.search(queries, 100) == expected


def test_mapped_and_disordered_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    made = vectors(rng, 60, 24, "random").astype(np.float16)
    offsets = np.arange(0, 61, 6)
    query, docs = vectors(rng, 12, 24, "random"), np.array([3, 9, 0], np.int32)
    expected = MaxSimScorer(Tokens.of(offsets, made)).rescore(query, docs)
    np.save(tmp_path / "tokens.npy", made)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    for kept in (mapped, np.asfortranarray(made), np.repeat(made, 2, axis=0)[::2]):
        assert np.array_equal(MaxSimScorer(FloatTokens(offsets, kept, 1.0)).rescore(query, docs), expected)


def test_queries_and_rankings_have_to_fit() -> None:
    tokens = documents([np.ones((1, 4))], 4)
    with pytest.raises(ValueError, match="2 queries do not fit rankings of 1"):
        MaxSimScorer(tokens).rescore_all(stack([np.ones((1, 4))] * 2, 4), Rankings.empty(1))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 1000.0])
def test_nothing_ranks_below_a_document_without_tokens(scale: float) -> None:
    """The worst of documents opposes every query token, which may be longer or shorter than 1."""
    query = np.array([[0.6, 0.8], [0.6, 0.8], [0.0, 1.0]], np.float32) * np.float32(scale)
    worst = -unit(query[:1])
    tokens = documents([np.zeros((0, 2)), worst, worst / 2, np.zeros((0, 2))], 2)
    for engine in (CpuEngine(tokens), CpuEngine(Hidden(tokens)), TorchEngine(tokens, "cpu")):
        scorer = MaxSimScorer(tokens)
        scorer._engine = engine
        found = scorer.search(stack([query, query[:0]], 2), 4)
        assert found[0][0][:2].tolist() == [2, 1]
        np.testing.assert_allclose(found[0][1][2:], -3.0 * scale * tokens.longest, rtol=1e-5)
        assert np.array_equal(scorer.rescore(query, found[0][0]), found[0][1])
        assert found[1][1].tolist() == [0.0] * 4
        assert not np.signbit(found[1][1]).any()


def test_the_floor_is_one_number_whatever_it_is_computed_with() -> None:
    rng = np.random.default_rng(6)
    queries = stack([vectors(rng, n, 20, "long") for n in (3, 0, 32, 700)], 20)
    floor = floor_of(queries, 1.0003)
    backwards = Ragged(queries.offsets, queries.vectors.copy())
    for first, last in pairwise(queries.offsets):
        backwards.vectors[first:last] = queries.vectors[first:last][::-1]
    assert np.array_equal(floor_of(backwards, 1.0003), floor)
    for number in range(4):
        assert floor_of(stack([queries[number]], 20), 1.0003)[0] == floor[number]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(bad: float) -> None:
    tokens = documents([np.ones((1, 4))], 4)
    queries = stack([np.ones((2, 4)), np.ones((0, 4)), np.ones((3, 4))], 4)
    queries.vectors[3, 2] = bad
    scorer, message = MaxSimScorer(tokens), "query 2 has a vector that is not finite, that of its token 1"
    with pytest.raises(ValueError, match=message):
        scorer.search(queries, 1)
    with pytest.raises(ValueError, match=message):
        scorer.rescore_all(queries, Rankings.empty(3))
    with pytest.raises(ValueError, match="query 0 has a vector"):
        scorer.rescore(queries[2], np.zeros(1, np.int32))


def test_float16_is_widened_without_the_processors_help() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[np.isfinite(bits.view(np.float16))]
    out = np.empty(len(bits), np.float32)
    maxsim_kernels.widen_bits(bits, out.view(np.uint32), out)
    assert np.array_equal(out.view(np.uint32), bits.view(np.float16).astype(np.float32).view(np.uint32))
