"""Tests of ColBERT-PRF: the published steps written down again, what leaves a query as it is, and the stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tiny import WORDS

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.words import word_id
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.forms import TOLD
from irkit.stages.multivector.clusters import clusters
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.query import colbert_prf
from irkit.stages.query.colbert_prf import ColbertPrf, _most_frequent, _spellings
from irkit.stages.query.gate import Gate
from irkit.testing import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])
SMALL: dict[str, Any] = {"clusters": 5, "fb_embs": 3}


def texts(n: int = 40) -> list[str]:
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 30), p=chance / chance.sum())) for _ in range(n)]


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context(texts())


def stage(model: Path, **options: Any) -> ColbertPrf:
    return ColbertPrf(model=str(model), **{**SMALL, **options})


def search(model: Path, context: Context, queries: Queries = QUERIES, **options: Any) -> Rankings:
    made = MaxSim(model=str(model), k=20, **options)
    found = made.run(Batch(queries), made.prepare(context))
    assert isinstance(found, Rankings)
    return found


def expand(made: ColbertPrf, context: Context, rankings: Rankings, queries: Queries = QUERIES) -> Queries:
    return made.run(Batch(queries, (rankings,)), made.prepare(context))


def published(made: ColbertPrf, context: Context, codes: list[int]) -> list[tuple[np.ndarray, int, float]]:
    """The steps of the authors' code for one query, in plain loops over all tokens: (centroid, word, idf), best first."""
    state = made.prepare(context)
    offsets, words, tokens = state.tokens.offsets, np.array(state.words), state.tokens
    everything = tokens.span(0, int(offsets[-1])).astype(np.float64)
    mine = [row for code in codes for row in range(offsets[code], offsets[code + 1])]
    pool = mine if made.neighbours == "feedback" else list(range(len(everything)))
    found = []
    for centroid in clusters(everything[mine].astype(np.float16), made.clusters, seed=42):
        near = sorted(pool, key=lambda row: (-float(everything[row] @ centroid.astype(np.float64)), row))[:10]
        named = Counter(
            int(words[row]) for row in near if words[row] != 0
        )  # nearest first, so ties go to the nearest
        if named:
            word = max(named, key=lambda each: named[each])
            df = sum(word in words[offsets[doc] : offsets[doc + 1]] for doc in range(len(tokens)))
            found.append((centroid, word, float(np.log((len(tokens) + 1) / (df + 1)))))
    return sorted(found, key=lambda each: -each[2])[: made.fb_embs]


@pytest.mark.parametrize("neighbours", ["collection", "feedback"])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_expansion_is_the_published_one(
    tiny_encoder: Path, context: Context, neighbours: Any, beta: float
) -> None:
    made = stage(tiny_encoder, neighbours=neighbours, beta=beta)
    first = search(tiny_encoder, context)
    expanded = expand(made, context, first)
    spelling = {word_id(word.encode()): word for word in WORDS}
    for row, (codes, _) in enumerate(first):
        expected = published(made, context, codes[:3].tolist())
        assert expected
        added = expanded.columns["tokens"][row]
        for place, (centroid, _, idf) in enumerate(expected):
            np.testing.assert_allclose(added[place], beta * idf * centroid, rtol=1e-5, atol=1e-6)
        assert not added[len(expected) :].any()
        words = ", ".join(f"{spelling[word]} {idf:.1f}" for _, word, idf in expected)
        assert expanded.columns[TOLD][row] == [f"colbert-prf: 3 documents, added {words}"]


def test_maxsim_adds_the_weighted_maxima(tiny_encoder: Path, context: Context) -> None:
    made, first = stage(tiny_encoder), search(tiny_encoder, context)
    tokens = made.prepare(context).tokens
    everything = dict(zip(*search_all(tiny_encoder, context, QUERIES), strict=True))
    found = search(tiny_encoder, context, expand(made, context, first))
    for row in range(3):
        expected = published(made, context, first[row][0][:3].tolist())
        for code, score in zip(*found[row], strict=True):
            rows = tokens.span(int(tokens.offsets[code]), int(tokens.offsets[code + 1])).astype(np.float64)
            more = sum(
                idf * float((rows @ centroid.astype(np.float64)).max()) for centroid, _, idf in expected
            )
            assert score == pytest.approx(everything[row][int(code)] + more, abs=1e-4)
    assert found != first


def search_all(model: Path, context: Context, queries: Queries) -> tuple[range, list[dict[int, float]]]:
    made = MaxSim(model=str(model), k=1000)
    found = made.run(Batch(queries), made.prepare(context))
    assert isinstance(found, Rankings)
    return range(len(queries)), [dict(zip(c.tolist(), s.tolist(), strict=True)) for c, s in found]


@pytest.mark.parametrize("options", [{"beta": 0.0}, {"fb_docs": 0}, {"gate": Gate(least=1.0)}])
def test_nothing_to_add_leaves_the_run_as_it_is(
    tiny_encoder: Path, context: Context, options: dict[str, Any]
) -> None:
    first = search(tiny_encoder, context)
    expanded = expand(stage(tiny_encoder, **options), context, first)
    assert expanded.columns["tokens"].shape[1] == 3
    assert not expanded.columns["tokens"].any()
    assert search(tiny_encoder, context, expanded) == first


def test_queries_without_documents_or_tokens_stay(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(["cat", "dog moon", "river"])
    given = Rankings.from_lists([[0], [], [0, 1, 2], [2]], [[1.0], [], [3.0, 2.0, 1.0], [1.0]])
    expanded = expand(stage(tiny_encoder), context, given)
    added = expanded.columns["tokens"]
    assert not added[1].any()
    assert expanded.columns[TOLD][1] == ["colbert-prf: the query as it was, for it has no documents"]
    assert added[0].any()
    assert added[2].any(axis=1).all()


def test_it_adds_to_what_a_stage_before_added(tiny_encoder: Path, context: Context) -> None:
    made, first = stage(tiny_encoder), search(tiny_encoder, context)
    once = expand(made, context, first)
    twice = expand(made, context, first, once)
    assert np.array_equal(twice.columns["tokens"], np.concatenate([once.columns["tokens"]] * 2, axis=1))


def test_tokens_of_another_index_are_refused(
    tiny_encoder: Path, tiny_colbert: Path, context: Context
) -> None:
    first = search(tiny_encoder, context)
    expanded = expand(stage(tiny_encoder), context, first)
    with pytest.raises(ConfigError, match=r"token vectors of the queries belong to another index"):
        search(tiny_colbert, context, expanded)
    with pytest.raises(ConfigError, match=r"token vectors of the queries belong to another index"):
        search(tiny_encoder, context, expanded, tokens={"dim": 8})
    with pytest.raises(ConfigError, match=r"token vectors of the queries belong to another index"):
        expand(stage(tiny_colbert), context, first, expanded)


def test_a_colbert_model_and_merged_words_work(tiny_colbert: Path, context: Context) -> None:
    for tokens in ({}, {"words": True}, {"words": True, "dim": 8, "codec": "int8"}):
        first = search(tiny_colbert, context, tokens=tokens)
        expanded = expand(stage(tiny_colbert, tokens=tokens), context, first)
        assert expanded.columns["tokens"].any()
        assert search(tiny_colbert, context, expanded, tokens=tokens) != first


@pytest.mark.parametrize("tokens", [{"pool": 2}, {"dim": 8}, {"words": True, "pool": 2}, {"codec": "int8"}])
def test_tokens_without_words_are_refused(tokens: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="words: true and pool: 1"):
        ColbertPrf(tokens=tokens)


def test_the_most_frequent_word_wins_and_the_nearest_of_equals() -> None:
    words = np.array([7, 5, 5, 0, 0, 0, 7, 9], np.uint32)
    assert _most_frequent(np.array([0, 1, 2, 3, 4, 5]), words) == 1  # three rows of no word do not count
    assert _most_frequent(np.array([6, 2, 1, 0]), words) == 6
    assert _most_frequent(np.array([2, 6, 1, 0]), words) == 2
    assert _most_frequent(np.array([3, 4]), words) == -1
    assert _most_frequent(np.zeros(0, np.int64), words) == -1


def test_words_are_shown_as_the_document_spells_them() -> None:
    found = _spellings("The Café, again")
    assert found[word_id(b"caf\xc3\xa9")] == "café"
    assert found[word_id(b"cafe")] == "cafe"
    assert found[word_id(b",")] == ","
    assert word_id(b"tea") not in found


def test_a_document_is_spelled_once_for_a_query(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(colbert_prf, "_spellings", lambda text: read.append(text) or _spellings(text))
    context = make_context(["cat dog moon five green stone river", *texts(3)])
    given = Rankings.from_lists([[0]], [[1.0]])
    expanded = expand(stage(tiny_encoder, neighbours="feedback"), context, given, Queries.of(["cat"]))
    assert expanded.columns["tokens"][0].any(axis=1).sum() == 3
    assert len(read) == 1


@pytest.mark.parametrize("options", [{}, {"neighbours": "feedback"}])
def test_contract(tiny_encoder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    model = str(tiny_encoder)
    made = registry.make_stage("colbert-prf", model=model, **SMALL, **options)
    check_stage(made, tmp_path, other_execution={"batch_size": 3})
    maxsim = registry.make_stage("maxsim", model=model)
    (registry.make_stage("bm25") >> made >> maxsim).graph()
    with pytest.raises(ConfigError, match="takes the tokens that it gives"):
        (maxsim >> made >> registry.make_stage("dense", model=model)).graph()
    with pytest.raises(ConfigError, match="needs rankings"):
        (made >> maxsim).graph()
