"""Tests of ColBERTer as a retriever: the formula, candidates, exact matching, documents without words, storage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import WORDS
from tiny_colberter import CLS, DIM, save_colberter

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models import resolve
from irkit.models.colberter import ColBERTer
from irkit.models.encoder import Encoder
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.multivector.colberter import Colberter
from irkit.stages.multivector.options import TokenOptions
from irkit.stages.multivector.pruning import stop_words
from irkit.stages.multivector.storage import Merged, measure_storage
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.multivector.word_match import match_scores
from irkit.testing import check_stage

QUERIES = Queries.of(["cat one dog", "green stone, unwanted river", "five", ""])
MakeContext = Callable[..., Context]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "colberter" in registry.stage_names():
        registry.stage_class("colberter")
    else:
        registry.register("colberter")(Colberter)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """Saves a tiny ColBERTer and returns its folder."""

    def save(**options: Any) -> str:
        folder = tmp_path / f"model-{len(list(tmp_path.glob('model-*')))}"
        folder.mkdir()
        return str(save_colberter(folder, **options))

    return save


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = [*WORDS, "the", "unwanted", "wants", ",", "café"]
    return [" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(n)]


def run(stage: Colberter | Dense, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def definition(
    model: ColBERTer, docs: list[str], weight: float, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """All fused scores and all products of [CLS] vectors, by loops; every document must have words."""
    cls = model.vectors(QUERIES.text, "query").astype(float) @ model.vectors(docs, "document").T.astype(float)
    asked, kept = model.tokens(QUERIES.text, "query"), model.tokens(docs, "document")
    assert asked.words is not None and kept.words is not None
    refined = np.zeros_like(cls)
    for query in range(len(QUERIES)):
        for doc in range(len(docs)):
            rows = range(kept.offsets[doc], kept.offsets[doc + 1])
            for token in range(asked.offsets[query], asked.offsets[query + 1]):
                products = [
                    float(
                        asked.vectors[token].astype(float)
                        @ kept.vectors[row].astype(np.float16).astype(float)
                    )
                    if not exact or asked.words[token] == kept.words[row]
                    else 0.0
                    for row in rows
                ]
                refined[query, doc] += max(products)
    return weight * cls + (1 - weight) * refined, cls


@pytest.mark.parametrize("options", [{}, {"weight": 0.3}, {"weight": 0.0}, {"exact_match": True}])
@pytest.mark.parametrize("uni", [False, True])
def test_the_score_is_the_papers(
    saved: Callable[..., str], make_context: MakeContext, options: dict[str, Any], uni: bool
) -> None:
    folder, docs = saved(bias=30.0, mini=1 if uni else -1, exact=uni), texts(30)
    found = run(Colberter(model=folder, k=30, **options), make_context(docs))
    model = ColBERTer(resolve(folder), device="cpu")
    weight = options.get("weight", 1 / (1 + np.exp(-0.7)))
    expected, _ = definition(model, docs, weight, options.get("exact_match", uni))
    for query in range(len(QUERIES)):
        codes, scores = found[query]
        assert sorted(codes.tolist()) == list(range(30))
        np.testing.assert_allclose(scores, expected[query][codes], rtol=1e-5, atol=1e-2)


def test_only_the_candidates_are_scored(saved: Callable[..., str], make_context: MakeContext) -> None:
    folder, docs = saved(bias=30.0), texts(40)
    stage = Colberter(model=folder, k=5, candidates=12)
    found = run(stage, make_context(docs))
    fused, cls = definition(ColBERTer(resolve(folder), device="cpu"), docs, stage_weight(), False)
    for query in range(len(QUERIES)):
        proposed = np.argsort(-cls[query])[:12]
        best = proposed[np.argsort(-fused[query][proposed])][:5]
        assert found[query][0].tolist() == best.tolist()
    # a candidate's place is not taken by what may not be retrieved
    barred = np.sort(np.argsort(-cls[0])[:3]).astype(np.int32)
    queries = Queries(("q",), (QUERIES.text[0],), (barred,))
    proposed = np.argsort(-cls[0])[3:15]
    best = proposed[np.argsort(-fused[0][proposed])][:5]
    assert run(stage, make_context(docs), queries)[0][0].tolist() == best.tolist()


def test_there_are_candidates_enough_for_k(saved: Callable[..., str], make_context: MakeContext) -> None:
    folder, context = saved(bias=30.0), make_context(texts(20))
    found = run(Colberter(model=folder, k=8, candidates=3), context)
    assert found.lengths.tolist() == [8] * 4
    assert found == run(Colberter(model=folder, k=8, candidates=8), context)


def stage_weight() -> float:
    return float(1 / (1 + np.exp(-0.7)))


def test_weight_one_is_the_dense_stage(saved: Callable[..., str], make_context: MakeContext) -> None:
    folder, context = saved(), make_context(texts(30))
    stage = Colberter(model=folder, k=7, weight=1.0)
    assert run(stage, context) == run(Dense(model=folder, k=7), context)
    kinds = sorted(artifact.kind for artifact in context.store.artifacts())
    assert kinds == ["vectors"]  # shared, and no token was encoded
    assert [recipe.kind for recipe in stage.artifacts(context)] == ["vectors"]


def test_the_artifacts_are_those_that_are_made(
    saved: Callable[..., str], tiny_encoder: Path, make_context: MakeContext
) -> None:
    for model, kinds in (
        (saved(), ["vectors", "tokens"]),
        (str(tiny_encoder), ["vectors", "tokens", "token-store"]),
    ):
        context = make_context(texts(9), store=f"store-{len(kinds)}")
        stage = Colberter(model=model)
        planned = stage.artifacts(context)
        assert [recipe.kind for recipe in planned] == kinds
        stage.prepare(context)
        assert all(context.store.find(recipe) for recipe in planned)


def test_a_document_without_words_is_below_all_others_that_have_some(
    saved: Callable[..., str], make_context: MakeContext
) -> None:
    folder = saved(bias=30.0)
    docs = [*texts(10), "", "  "]
    found = run(Colberter(model=folder, k=12, weight=0.0), make_context(docs))
    for query in range(3):
        assert set(found[query][0][-2:].tolist()) == {10, 11}
        assert np.isfinite(found[query][1]).all()
    exact = run(Colberter(model=folder, k=12, weight=0.0, exact_match=True), make_context(docs))
    model = ColBERTer(resolve(folder), device="cpu")
    asked, kept = model.tokens(QUERIES.text, "query"), model.tokens(docs, "document")
    longest = np.linalg.norm(kept.vectors.astype(np.float16).astype(float), axis=1).max()
    for query in range(3):
        assert set(exact[query][0][-2:].tolist()) == {10, 11}
        least = -longest * np.linalg.norm(asked[query].astype(float), axis=1).sum()
        for scores in (found[query][1][-2:], exact[query][1][-2:]):
            np.testing.assert_allclose(scores, least, rtol=1e-3)
    # and where the gates leave no document a word, the sentence vectors decide
    gated = saved(bias=-1e4)
    only = run(Colberter(model=gated, k=12), make_context(docs))
    dense = run(Dense(model=gated, k=12), make_context(docs))
    assert [only[query][0].tolist() for query in range(4)] == [dense[query][0].tolist() for query in range(4)]


def test_a_bi_encoder_is_reduced_to_whole_words(tiny_encoder: Path, make_context: MakeContext) -> None:
    docs = texts(20)
    stage = Colberter(model=str(tiny_encoder), k=20, weight=0.4)
    state = stage.prepare(make_context(docs))
    encoder = Encoder(resolve(str(tiny_encoder)), device="cpu")
    asked = encoder.tokens(QUERIES.text, "query", special=False)
    cls = encoder.vectors(QUERIES.text, "query").astype(float)
    sentences = encoder.vectors(docs, "document").astype(float)
    cosine = (cls / np.linalg.norm(cls, axis=1)[:, None]) @ (
        sentences / np.linalg.norm(sentences, axis=1)[:, None]
    ).T
    raw = encoder.tokens(docs, "document", words=True)
    assert raw.words is not None and state.words is not None
    found = stage.run(Batch(QUERIES), state)
    for query in range(3):
        words = [word for word in f"red {QUERIES.text[query]}".replace(",", "").split() if word in WORDS]
        told = asked[query][[word != "one" for word in words]]
        for code, score in zip(*found[query], strict=True):
            rows = np.arange(raw.offsets[code], raw.offsets[code + 1])
            ids = raw.words[rows]
            kept = list(set(ids.tolist()) - {0} - set(stop_words().tolist()))
            means = np.array(
                [raw.vectors[rows[ids == i]].astype(np.float16).mean(axis=0, dtype=float) for i in kept]
            )
            means /= np.linalg.norm(means, axis=1)[:, None]
            refined = (told.astype(float) @ means.T).max(axis=1).sum()
            assert score == pytest.approx(0.4 * cosine[query, code] + 0.6 * refined, abs=5e-3)


def test_a_querys_pieces_are_merged_as_a_documents_are(tiny_encoder: Path, make_context: MakeContext) -> None:
    """A word that a query says twice counts once, and meets the documents' words with the mean of all its pieces."""
    text = "cat dog cat"
    stage = Colberter(model=str(tiny_encoder), k=2, weight=0.0)
    encoder = Encoder(resolve(str(tiny_encoder)), device="cpu")
    pieces = encoder.tokens([text], "query", special=False, words=True)
    assert pieces.words is not None
    means = [
        pieces.vectors[pieces.words == word].mean(axis=0, dtype=float) for word in set(pieces.words.tolist())
    ]
    asked = np.array([mean / np.linalg.norm(mean) for mean in means])
    assert len(pieces.vectors) > len(asked)
    for options, matches in (({}, False), ({"exact_match": True}, True)):
        state = stage.model_copy(update=options).prepare(make_context(["cat dog river", "cat"]))
        assert state.words is not None
        kept = state.words.tokens
        names = np.array(kept.words)
        found = stage.run(Batch(Queries.of([text])), state)
        for code, score in zip(*found[0], strict=True):
            rows = slice(kept.offsets[code], kept.offsets[code + 1])
            products = asked @ kept.take(np.arange(rows.start, rows.stop)).astype(float).T
            if matches:
                same = np.array(list(set(pieces.words.tolist())))[:, None] == names[rows]
                alone = same.all(axis=1)
                products = np.where(same | alone[:, None], products, 0.0)
            assert score == pytest.approx(products.max(axis=1).sum(), abs=2e-3)


def test_other_options_of_tokens_leave_the_words_whole(tiny_encoder: Path, make_context: MakeContext) -> None:
    stage = registry.make_stage("colberter", model=str(tiny_encoder), tokens={"dim": 8})
    assert isinstance(stage, Colberter)
    assert (stage.tokens.dim, stage.tokens.words, stage.tokens.prune) == (8, True, "stop-words")
    assert not stage.model_copy(update={"tokens": TokenOptions()}).tokens.words
    plain = Colberter(model=str(tiny_encoder), tokens={"words": False, "prune": None})
    # "no" is an option like any other: it is written, and read again
    written = plain.model_dump(mode="json", exclude_defaults=True)
    assert Colberter(**written) == plain
    kinds = [recipe.kind for recipe in plain.artifacts(make_context(["cat"]))]
    assert kinds == ["vectors", "tokens"]  # nothing is reduced


def test_a_colberter_keeps_the_stop_words_that_its_gates_keep(
    saved: Callable[..., str], make_context: MakeContext
) -> None:
    state = Colberter(model=saved(bias=30.0)).prepare(make_context(["the cat, the dog"]))
    assert state.words is not None
    assert state.words.tokens.lengths.tolist() == [4]  # the, cat, comma, dog


def test_storage_is_reported(saved: Callable[..., str], make_context: MakeContext) -> None:
    docs = ["unwanted cat cat", "the dog", ""]  # words: 2, 2, 0
    context, stage = make_context(docs), Colberter(model=saved(bias=30.0))
    stage.prepare(context)
    found = measure_storage(stage, context)
    assert (found.documents, found.kept, found.merged) == (3, 4, None)
    assert 3 * CLS * 4 <= found.sentence_bytes <= 3 * CLS * 4 + 128
    assert 4 * DIM * 2 + 4 * 4 <= found.word_bytes <= 4 * DIM * 2 + 4 * 4 + 1024
    assert "of 1.3 word vectors" in context.notes["storage"]
    assert "pieces" not in context.notes["storage"]  # the model merged and dropped them, not the store
    gated = make_context(docs, store="gated")
    Colberter(model=saved(bias=-1e4)).prepare(gated)
    assert "0.0 word vectors" in gated.notes["storage"]
    assert {each.kind for each in gated.store.artifacts()} == {"vectors", "tokens"}  # none for a note's sake


def test_storage_of_a_bi_encoder(tiny_encoder: Path, make_context: MakeContext) -> None:
    docs = ["cat cat dog", "the dog", ""]  # "the" is unknown to the tiny model; [CLS] and [SEP] are no pieces
    context = make_context(docs)
    stage = Colberter(model=str(tiny_encoder), tokens={"prune": None})
    stage.prepare(context)
    found = measure_storage(stage, context)
    assert (found.documents, found.kept) == (
        3,
        5,
    )  # the last document has special tokens only, and keeps them
    assert found.merged == Merged(pieces=4, before=3, after=3)
    assert (
        "1.3 word pieces are 1.0 whole words (25% fewer), of which 0% are dropped" in context.notes["storage"]
    )
    elsewhere = make_context(docs, store="elsewhere")
    stage.model_copy(update={"keep_raw": False}).prepare(elsewhere)
    assert elsewhere.notes["storage"] == context.notes["storage"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_exact_match_is_the_definition(seed: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    vectors = rng.normal(size=(offsets[-1], 3)).astype(np.float16)
    words = np.concatenate([[], *(rng.permutation(5)[:n] + 1 for n in lengths)]).astype(np.uint32)
    query, asked = rng.normal(size=(3, 3)).astype(np.float32), np.array([1, 4, 0], np.uint32)
    docs = rng.permutation(len(lengths)).astype(np.int32)
    got = match_scores(Tokens.of(offsets, vectors), words, query, asked, docs)
    for score, doc in zip(got, docs, strict=True):
        rows = range(offsets[doc], offsets[doc + 1])
        expected = sum(
            max(
                (float(q @ vectors[row].astype(float)) if words[row] == w and w else 0.0 for row in rows),
                default=0,
            )
            for q, w in zip(query.astype(float), asked, strict=True)
        )
        assert score == pytest.approx(expected, abs=1e-5)


def test_no_documents_and_no_queries(saved: Callable[..., str], make_context: MakeContext) -> None:
    stage = Colberter(model=saved())
    assert run(stage, make_context([])).lengths.tolist() == [0] * 4
    assert len(run(stage, make_context(["cat"]), Queries.of([]))) == 0


@pytest.mark.parametrize("uni", [False, True])
def test_contract(saved: Callable[..., str], tmp_path: Path, uni: bool) -> None:
    stage = Colberter(
        model=saved(bias=1.0, mini=1 if uni else -1, exact=uni), k=4, candidates=6, device="cpu"
    )
    check_stage(stage, tmp_path, other_execution={"batch_size": 3, "keep_raw": False})


def test_contract_with_a_bi_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    stage = Colberter(model=str(tiny_encoder), k=4, device="cpu")
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})


def test_a_model_without_sentence_vectors_is_refused(tiny_colbert: Path, make_context: MakeContext) -> None:
    with pytest.raises(ModelError, match=r"token vectors only[^!]*stage maxsim"):
        Colberter(model=str(tiny_colbert)).prepare(make_context(["cat"]))


def test_pooled_vectors_have_no_words_to_match(tiny_encoder: Path, make_context: MakeContext) -> None:
    stage = Colberter(model=str(tiny_encoder), exact_match=True, tokens={"pool": 2})
    with pytest.raises(ConfigError, match="do not say which words they are") as refused:
        stage.prepare(make_context(["cat dog red"]))
    assert "leave tokens.pool out" in str(refused.value)


def test_what_exact_match_needs_is_said(
    tiny_encoder: Path, saved: Callable[..., str], make_context: MakeContext
) -> None:
    apart = Colberter(model=str(tiny_encoder), exact_match=True, tokens={"words": False, "dim": 8})
    with pytest.raises(ConfigError, match=r"set tokens\.words: true"):
        apart.prepare(make_context(["cat dog red"]))
    learnt = Colberter(model=saved(mini=1, exact=True), tokens={"codec": "int8"})
    with pytest.raises(ConfigError, match="leave tokens out"):
        learnt.prepare(make_context(["cat dog red"], store="other"))


@pytest.mark.parametrize("given", [{"exact_match": False}, {"tokens": {"dim": 8}}])
def test_options_of_words_that_are_left_out_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"weight: 1 makes no use of {next(iter(given))}: leave it out"):
        registry.make_stage("colberter", weight=1, **given)


@pytest.mark.parametrize("wrong", [{"weight": -0.1}, {"weight": 1.1}, {"candidates": 0}, {"weights": 1}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Colberter(**wrong)


def test_a_stage_loads_nothing_until_it_is_prepared() -> None:
    code = (
        "import sys; from irkit.stages.multivector.colberter import Colberter; Colberter();"
        "print([m for m in ('torch', 'faiss', 'transformers', 'sentence_transformers', 'numba', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
