"""Tests of MaxSim: the formula, padding, zero tokens, ties, and one answer whatever the blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORDS

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings, offsets_of
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged, groups
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.tokens import Tokens

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])


def ragged(rng: np.random.Generator, lengths: list[int], dim: int = 16) -> Ragged:
    offsets = offsets_of(lengths)
    return Ragged(offsets, unit(rng.normal(size=(offsets[-1], dim))))


def documents(rng: np.random.Generator, lengths: list[int], dim: int = 16) -> Tokens:
    made = ragged(rng, lengths, dim)
    return Tokens.of(made.offsets, made.vectors.astype(np.float16))


def brute(query: np.ndarray, tokens: Tokens) -> np.ndarray:
    """The definition, by loops over the real tokens."""
    scores = []
    for doc in range(len(tokens)):
        rows = tokens.span(tokens.offsets[doc], tokens.offsets[doc + 1]).astype(np.float64)
        scores.append(
            sum(max(float(q @ row) for row in rows) for q in query.astype(np.float64))
            if len(rows)
            else -np.inf
        )
    return np.array(scores)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    depth=st.integers(1, 45),
    block=st.integers(1, 60),
)
def test_search_is_the_definition(seed: int, lengths: list[int], depth: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, queries = documents(rng, lengths), ragged(rng, [3, 1, 5])
    found = MaxSimScorer(tokens, block=block).search(queries, depth)
    assert found == MaxSimScorer(tokens).search(queries, depth)
    for query in range(3):
        expected = brute(queries[query], tokens)
        codes, scores = found[query]
        assert len(codes) == min(depth, len(lengths))
        there = np.isfinite(expected[codes])
        np.testing.assert_allclose(scores[there], expected[codes][there], atol=1e-5)
        np.testing.assert_allclose(scores[~there], -len(queries[query]) * tokens.longest, rtol=1e-5)
        left_out = np.delete(expected, codes)
        if len(left_out) and there.all():
            assert left_out.max() <= expected[codes].min() + 1e-5


def test_negative_similarities_are_not_beaten_by_padding() -> None:
    """The short document's only token opposes the query; a padded zero would lift it from -1 to 0."""
    query = Ragged(np.array([0, 1]), np.array([[1, 0]], np.float32))
    vectors = np.array([[-1, 0], [-0.6, 0.8], [-0.6, -0.8], [-0.8, 0.6]], np.float16)
    tokens = Tokens.of(np.array([0, 1, 4]), vectors)
    found = MaxSimScorer(tokens).search(query, 2)
    assert found.doc.tolist() == [1, 0]
    np.testing.assert_allclose(found.score, [-0.6, -1], atol=1e-3)


def test_a_document_without_tokens_comes_last_with_a_finite_score() -> None:
    query = Ragged(np.array([0, 2]), np.array([[1, 0], [1, 0]], np.float32))
    tokens = Tokens.of(np.array([0, 0, 1, 1]), np.array([[-1, 0]], np.float16))
    found = MaxSimScorer(tokens).search(query, 3)
    assert found.score.tolist() == [-2, -2, -2]  # no score of unit vectors is lower
    tokens = Tokens.of(np.array([0, 0, 1, 1]), np.array([[0, 1]], np.float16))
    assert MaxSimScorer(tokens).search(query, 3).doc.tolist() == [1, 2, 0]


def test_blocks_threads_and_companions_do_not_change_a_bit() -> None:
    import torch

    rng = np.random.default_rng(0)
    tokens = documents(rng, rng.integers(0, 60, 300).tolist(), dim=384)
    queries = ragged(rng, rng.integers(1, 30, 12).tolist(), dim=384)
    expected = MaxSimScorer(tokens).search(queries, 50)
    before = torch.get_num_threads()
    try:
        for block, threads in [(100, 1), (1000, 2), (5000, 1)]:
            torch.set_num_threads(threads)
            scorer = MaxSimScorer(tokens, block=block)
            assert scorer.search(queries, 50) == expected
            for query in range(12):
                codes, scores = expected[query]
                assert np.array_equal(scorer.rescore(queries[query], codes), scores)
                assert scorer.rescore(queries[query], codes[:1]) == scores[0]
    finally:
        torch.set_num_threads(before)


def test_equal_documents_tie_at_the_end() -> None:
    rng = np.random.default_rng(1)
    one = unit(rng.normal(size=(4, 16))).astype(np.float16)
    tokens = Tokens.of(np.arange(0, 404, 4), np.tile(one, (100, 1))[: 4 * 100])
    assert len(tokens) == 100
    found = MaxSimScorer(tokens, block=37).search(ragged(rng, [3]), 10)
    assert found.doc.tolist() == list(range(99, 89, -1))


def test_groups_cover_every_query_once() -> None:
    offsets = np.array([0, 3, 3, 10, 50, 51, 52])
    parts = list(groups(offsets, 12))
    assert [query for first, last in parts for query in range(first, last)] == list(range(6))


def stage_texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return ["", *(" ".join(rng.choice(WORDS, rng.integers(1, 50))) for _ in range(n - 1))]


def run(stage: MaxSim, context: Context, queries: Queries = QUERIES, *upstream: Rankings) -> Rankings:
    return stage.run(Batch(queries, upstream), stage.prepare(context))


def test_the_stage_scores_like_sentence_transformers(
    tiny_colbert: Path, make_context: Callable[..., Context]
) -> None:
    from sentence_transformers import MultiVectorEncoder

    docs = stage_texts(40)
    found = run(MaxSim(model=str(tiny_colbert)), make_context(docs))
    oracle = MultiVectorEncoder(str(tiny_colbert), device="cpu")
    queries, texts = oracle.encode_query(list(QUERIES.text)), oracle.encode_document(docs)
    expected = oracle.similarity(queries, texts).cpu().numpy()
    for query in range(4):
        codes, scores = found[query]
        assert len(codes) == 40
        np.testing.assert_allclose(
            scores, expected[query][codes], atol=2e-2
        )  # token vectors are kept as float16
        assert np.corrcoef(scores, expected[query][codes])[0, 1] > 0.999


def test_reranking_gives_the_scores_of_searching(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context, stage = make_context(stage_texts(40)), MaxSim(model=str(tiny_encoder), k=40)
    everything = run(stage, context)
    some = everything.where(everything.doc % 3 == 0)
    shuffled = some.with_scores(np.random.default_rng(0).normal(size=len(some.doc)))
    assert run(stage, context, QUERIES, shuffled) == some
    top = run(stage.model_copy(update={"depth": 4}), context, QUERIES, shuffled)
    for query in range(4):
        assert set(top[query][0][:4]) == set(shuffled[query][0][:4])
        assert top[query][0][4:].tolist() == shuffled[query][0][4:].tolist()


@pytest.mark.parametrize("depth", [None, 3])
def test_a_query_without_tokens_leaves_a_ranking_as_it_is(
    tiny_encoder: Path, make_context: Callable[..., Context], depth: int | None
) -> None:
    """Every document scores 0 then, and the order of ties would be by code, descending."""
    context = make_context(stage_texts(12))
    stage = MaxSim(model=str(tiny_encoder), query_prompt="", depth=depth)
    before = Rankings.build([0, 6, 12], [1, 2, 9, 4, 7, 0] * 2, [8.5, 8.5, 8, 1e-6, -3, -3e4] * 2)
    after = run(stage, context, Queries.of(["", "cat dog"]), before)
    assert after.take([0]) == before.take([0])
    assert after.take([1]) == run(stage, context, Queries.of(["cat dog"]), before.take([1]))
    assert after.take([1]) != before.take([1])


def test_the_stage_excludes_and_cuts(tiny_encoder: Path, make_context: Callable[..., Context]) -> None:
    context, stage = make_context(stage_texts(30)), MaxSim(model=str(tiny_encoder), k=5)
    query = Queries.of(["cat"])
    first = run(stage, context, query)
    found = run(stage, context, Queries(query.qid, query.text, (np.sort(first.doc[:2]),)))
    assert len(found.doc) == 5
    assert found.doc[:3].tolist() == first.doc[2:].tolist()


def test_query_special_tokens_can_be_left_out(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(stage_texts(20))
    with_special, without = (
        run(MaxSim(model=str(tiny_encoder), query_special_tokens=wanted, query_prompt=""), context)
        for wanted in (True, False)
    )
    assert run(MaxSim(model=str(tiny_encoder), query_prompt=""), context) == without
    assert with_special.score[0] > without.score[0]  # two more tokens, each adding its maximum
    assert (without[3][1] == 0).all()  # the empty query has no token at all
    assert without[3][0].tolist() == list(range(19, -1, -1))


@pytest.mark.parametrize("shard", [7, 100])
def test_tokens_do_not_depend_on_shards(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, shard: int
) -> None:
    from irkit.stages import encoding

    stage, docs = MaxSim(model=str(tiny_encoder), k=30), stage_texts(30)
    expected = run(stage, make_context(docs, store="one"))
    monkeypatch.setattr(encoding, "SHARD", shard)
    again = stage.model_copy(update={"batch_size": 3})
    assert run(again, make_context(docs, store="two", threads=2)) == expected
