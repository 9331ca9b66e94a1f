"""Tests of reranking with a cross-encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.cross_encoder import CrossEncoder

QUERIES = Queries.of(["cat dog", "green stone river", "five"])


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 60))) for _ in range(n)]


def candidates(docs: int, per_query: int) -> Rankings:
    rng = np.random.default_rng(1)
    chosen = [rng.choice(docs, per_query, replace=False) for _ in range(3)]
    return Rankings.from_lists(chosen, [rng.normal(size=per_query) for _ in range(3)])


def run(stage: CrossEncoder, context: Context, rankings: Rankings, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries, (rankings,)), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def test_scores_are_those_of_sentence_transformers(
    tiny_cross_encoder: Path, make_context: Callable[..., Context]
) -> None:
    from sentence_transformers import CrossEncoder as Oracle

    docs, before = texts(30), candidates(30, 12)
    found = run(CrossEncoder(model=str(tiny_cross_encoder), batch_size=4), make_context(docs), before)
    oracle = Oracle(str(tiny_cross_encoder), device="cpu")
    for query in range(3):
        codes, scores = found[query]
        expected = oracle.predict([(QUERIES.text[query], docs[code]) for code in codes])
        np.testing.assert_allclose(scores, expected, atol=2e-6)
        assert set(codes) == set(before[query][0])
    assert np.ptp(found.score) > 0.01


def test_batches_threads_and_companions_do_not_change_a_bit(
    tiny_cross_encoder: Path, make_context: Callable[..., Context]
) -> None:
    docs, before = texts(30), candidates(30, 12)
    stage = CrossEncoder(model=str(tiny_cross_encoder))
    expected = run(stage, make_context(docs), before)
    for batch_size in (1, 5):
        other = stage.model_copy(update={"batch_size": batch_size})
        assert other.meaning() == stage.meaning()
        context = make_context(docs, threads=2)
        assert run(other, context, before) == expected
        alone = [run(other, context, before.take([q]), QUERIES.take([q])) for q in range(3)]
        assert Rankings.concat(alone) == expected


def test_beyond_the_depth_the_order_stays(
    tiny_cross_encoder: Path, make_context: Callable[..., Context]
) -> None:
    docs, before = texts(30), candidates(30, 12)
    context = make_context(docs)
    found = run(CrossEncoder(model=str(tiny_cross_encoder), depth=5), context, before)
    full = run(CrossEncoder(model=str(tiny_cross_encoder), depth=None), context, before.top(5))
    for query in range(3):
        codes, scores = found[query]
        assert codes[:5].tolist() == full[query][0].tolist()
        assert scores[:5].tolist() == full[query][1].tolist()
        assert codes[5:].tolist() == before[query][0][5:].tolist()
        assert (np.diff(scores[4:]) < 0).all()


def test_queries_without_candidates_stay_empty(
    tiny_cross_encoder: Path, make_context: Callable[..., Context]
) -> None:
    before = Rankings.from_lists([[], [1, 2], []], [[], [0.1, 0.2], []])
    found = run(CrossEncoder(model=str(tiny_cross_encoder)), make_context(texts(5)), before)
    assert found.lengths.tolist() == [0, 2, 0]
    stage = CrossEncoder(model=str(tiny_cross_encoder))
    assert run(stage, make_context(texts(5)), Rankings.empty(3)) == Rankings.empty(3)


def test_models_that_cannot_rerank_are_refused(
    tiny_encoder: Path, tiny_classifier: Path, tiny_cross_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(3))
    with pytest.raises(ModelError, match="no cross-encoder: SentenceTransformer"):
        CrossEncoder(model=str(tiny_encoder)).prepare(context)
    with pytest.raises(ModelError, match="3 outputs"):
        CrossEncoder(model=str(tiny_classifier)).prepare(context)
    with pytest.raises(ConfigError, match="at most 128"):
        CrossEncoder(model=str(tiny_cross_encoder), max_length=1000).prepare(context)
    with pytest.raises(ValidationError, match="model"):
        CrossEncoder()  # type: ignore[call-arg]
