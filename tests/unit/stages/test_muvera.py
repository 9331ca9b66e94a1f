"""Tests of the stage muvera and its indexes: estimates, reranking, and one result whatever the batch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from pydantic import ValidationError
from tiny import WORDS

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector import fde_index
from irkit.stages.multivector.carving import carve_all
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder
from irkit.stages.multivector.fde_index import FdeIndex, FlatFde, PqFde, build_fde
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.muvera import Muvera
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.tokens import FloatTokens, Tokens
from irkit.store import Recipe
from irkit.testing import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 30))) for _ in range(n)]


def run(stage: Any, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def ragged(lengths: list[int], seed: int = 0) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(offsets, unit(np.random.default_rng(seed).normal(size=(offsets[-1], 16))))


def indexed(
    context: Context, kind: fde_index.Kind, tokens: Tokens, encoder: FdeEncoder, device: str = "cpu"
) -> FdeIndex:
    recipe = Recipe("fde", {"test": kind, "device": device})
    kept = context.artifact(recipe, lambda build: build_fde(build, context, tokens, encoder, kind, device))
    assert kept.meta["documents"] == len(tokens)
    if kind == "flat":
        return FlatFde(kept.file("encodings.npy"), encoder, context.runtime.threads)
    return PqFde(kept.file("index.faiss"), encoder)


@pytest.fixture
def collection() -> tuple[Tokens, Ragged]:
    made = ragged([int(n) for n in np.random.default_rng(1).integers(0, 9, 700)])
    return Tokens.of(made.offsets, made.vectors.astype(np.float16)), ragged([3, 0, 8, 1], seed=5)


@pytest.mark.parametrize(
    "config", [FdeConfig(), FdeConfig(repetitions=3, k_sim=3, d_proj=None), FdeConfig(final_dim=136)]
)
def test_flat_finds_the_greatest_products(
    config: FdeConfig,
    collection: tuple[Tokens, Ragged],
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fde_index, "_SHARD", 500)
    tokens, queries = collection
    encoder = FdeEncoder(config, 16)
    index = indexed(make_context(["a"], threads=2), "flat", tokens, encoder)
    found = index.search(queries, 20)
    documents = encoder.documents(tokens.offsets, tokens.span(0, int(tokens.offsets[-1]))).astype(np.float16)
    asked = encoder.queries(queries.offsets, queries.vectors).astype(np.float64)
    expected = asked @ documents.T.astype(np.float64) / config.repetitions
    for query in range(4):
        codes, scores = found[query]
        np.testing.assert_allclose(scores, expected[query][codes], atol=1e-5)
        assert np.delete(expected[query], codes).max() <= scores.min() + 1e-5
    assert found[1][0].tolist() == list(range(699, 679, -1))  # no query token: all score 0, ties by code
    alone = Ragged(np.array([0, 8]), queries[2])
    assert index.search(alone, 20) == found.take([2])
    monkeypatch.setattr(fde_index, "_GROUP", 2)
    assert index.search(queries, 20) == found  # every group reads its own queries' tokens


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("config", [FdeConfig(), FdeConfig(final_dim=64)])
def test_documents_are_read_and_encoded_in_blocks_of_a_byte_budget(
    config: FdeConfig,
    device: str,
    collection: tuple[Tokens, Ragged],
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens, queries = collection
    encoder = FdeEncoder(config, 16)
    expected = indexed(make_context(["a"], store="whole"), "flat", tokens, encoder, device).search(
        queries, 700
    )
    read: list[int] = []
    monkeypatch.setattr(fde_index, "_TOGETHER", 3 * 4 * 10240)  # bytes of three encodings, of the full size
    monkeypatch.setattr(Tokens, "span", None)  # maps the file
    monkeypatch.setattr(FloatTokens, "span", None)
    vectors = tokens.vectors  # type: ignore[attr-defined]
    monkeypatch.setattr(
        FloatTokens, "read", lambda _self, start, stop: (read.append(stop - start), vectors[start:stop])[1]
    )
    found = indexed(make_context(["a"], store="blocks"), "flat", tokens, encoder, device).search(queries, 700)
    assert len(read) >= 700 / 3 and sum(read) == len(vectors)
    if device == "cpu":  # torch's sums depend on the block
        assert found == expected
    read[:] = []
    monkeypatch.setattr(fde_index, "_TOGETHER", 10 * 2 * 16)  # of ten tokens, and of eighty small encodings
    small = FdeEncoder(FdeConfig(repetitions=1, k_sim=0, d_proj=1), 16)
    indexed(make_context(["a"], store="tokens"), "flat", tokens, small, device)
    assert max(read) <= 10 and sum(read) == len(vectors)


def test_pq_finds_nearly_the_same(
    collection: tuple[Tokens, Ragged], make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fde_index, "_SHARD", 500)
    tokens, queries = collection
    encoder, context = FdeEncoder(FdeConfig(), 16), make_context(["a"])
    exact = indexed(context, "flat", tokens, encoder).search(queries, 10)
    index = indexed(context, "pq", tokens, encoder)
    faiss.omp_set_num_threads(2)
    near = index.search(queries, 100)
    assert faiss.omp_get_max_threads() == 1  # whatever another stage of the process has set
    for query in (0, 2, 3):
        assert np.isin(exact[query][0], near[query][0]).mean() >= 0.8
        there = np.isin(near[query][0], exact[query][0])
        assert there[:20].sum() > there[-20:].sum()
        by_code = dict(zip(*exact[query], strict=True))
        for code, score in zip(*near[query], strict=True):
            assert abs(score - by_code.get(code, score)) < 0.3 * len(queries[query])
        assert index.search(Ragged(np.array([0, len(queries[query])]), queries[query]), 100) == near.take(
            [query]
        )


def test_torch_builds_the_same_index(
    collection: tuple[Tokens, Ragged], make_context: Callable[..., Context]
) -> None:
    tokens, queries = collection
    encoder, context = FdeEncoder(FdeConfig(), 16), make_context(["a"])
    one, other = (
        indexed(context, "flat", tokens, encoder, device).search(queries, 5) for device in ("cpu", "cpu:0")
    )
    np.testing.assert_array_equal(one.doc, other.doc)
    np.testing.assert_allclose(one.score, other.score, atol=1e-4)


@pytest.mark.parametrize("kind", ["flat", "pq"])
def test_an_interrupted_build_goes_on(
    kind: fde_index.Kind,
    collection: tuple[Tokens, Ragged],
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fde_index, "_SHARD", 500)
    tokens, queries = collection
    encoder = FdeEncoder(FdeConfig(repetitions=2), 16)
    expected = indexed(make_context(["a"], store="whole"), kind, tokens, encoder).search(queries, 9)
    encoded: list[int] = []
    documents = FdeEncoder.documents

    def failing(self: FdeEncoder, offsets: Any, vectors: Any) -> Any:
        if len(offsets) > 2:  # a shard; the quantiser looks at single documents
            if len(encoded) == 2:
                raise KeyboardInterrupt
            encoded.append(len(offsets) - 1)
        return documents(self, offsets, vectors)

    monkeypatch.setattr(FdeEncoder, "documents", failing)
    with pytest.raises(KeyboardInterrupt):
        indexed(make_context(["a"], store="cut"), kind, tokens, encoder)
    before = encoded.copy()
    monkeypatch.setattr(
        FdeEncoder, "documents", lambda *given: (encoded.append(len(given[1]) - 1), documents(*given))[1]
    )
    encoded[:] = []
    assert indexed(make_context(["a"], store="cut"), kind, tokens, encoder).search(queries, 9) == expected
    assert sum(before) + sum(encoded) == 700


def test_an_index_that_does_not_fit_is_refused(
    collection: tuple[Tokens, Ragged], make_context: Callable[..., Context]
) -> None:
    tokens, _ = collection
    few = Tokens.of(tokens.offsets[:100], tokens.span(0, int(tokens.offsets[99])))
    for chosen, config, kind, match in (
        (few, FdeConfig(), "pq", "at least 624 documents"),
        (tokens, FdeConfig(final_dim=100), "pq", "cannot divide encodings of 100"),
        (
            Tokens.of(np.array([0, 1]), np.full((1, 16), 3e4, np.float16)),
            FdeConfig(),
            "flat",
            "float16 cannot hold",
        ),
    ):
        with pytest.raises(ConfigError, match=match) as caught:
            indexed(make_context(["a"]), kind, chosen, FdeEncoder(config, 16))
        assert caught.value.problems[0].hint


def test_a_sketch_needs_more_of_float16(make_context: Callable[..., Context]) -> None:
    """Its coordinates are sums of many: vectors that fit the encoding need not fit the sketch."""
    tokens = Tokens.of(np.array([0, 1]), np.full((1, 16), 50, np.float16))
    index = indexed(make_context(["a"]), "flat", tokens, FdeEncoder(FdeConfig(), 16))
    query = Ragged(np.array([0, 1]), np.full((1, 16), 0.25, np.float32))
    assert index.search(query, 1).score[0] == pytest.approx(200, rel=0.5)
    with pytest.raises(ConfigError, match="float16 cannot hold"):
        indexed(make_context(["a"], store="other"), "flat", tokens, FdeEncoder(FdeConfig(final_dim=64), 16))


@pytest.mark.parametrize(
    ("options", "match", "hint"),
    [
        ({"index": "pq"}, "pq needs at least 624 documents, here are 3", "index: flat"),
        ({"d_proj": None, "final_dim": 999_999}, "final_dim: 999999 does not reduce", "leave final_dim out"),
    ],
)
def test_what_cannot_be_built_is_refused_before_documents_are_encoded(
    options: dict[str, Any],
    match: str,
    hint: str,
    tiny_encoder: Path,
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Muvera, "open_tokens", None)
    with pytest.raises(ConfigError, match=match) as caught:
        Muvera(model=str(tiny_encoder), **options).prepare(make_context(["a", "b", "c"]))
    assert hint in (caught.value.problems[0].hint or "")


def test_pq_that_does_not_divide_the_tokens_is_refused_before_they_are_made(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Muvera(model=str(tiny_encoder), index="pq", repetitions=1, k_sim=0, d_proj=None)
    context = make_context(texts(624))
    encoder = stage.load_encoder(context)
    monkeypatch.setattr(type(encoder), "token_dim", 12)
    monkeypatch.setattr(Muvera, "open_tokens", None)
    with pytest.raises(ConfigError, match="cannot divide encodings of 12 dimensions by 8"):
        stage.prepare(context)


def test_reranked_documents_have_the_scores_of_maxsim(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(60))
    exact = run(MaxSim(model=str(tiny_encoder), k=60), context)
    assert run(Muvera(model=str(tiny_encoder), k=60, candidates=60), context) == exact
    estimates = run(Muvera(model=str(tiny_encoder), k=60, rerank=False), context)
    assert estimates != exact
    some = run(Muvera(model=str(tiny_encoder), k=60, candidates=12), context)
    for query in range(4):
        first, rest = np.split(estimates[query][0], [12])
        assert sorted(some[query][0][:12]) == sorted(first)
        assert (
            some[query][0][12:].tolist() == rest.tolist()
        )  # below the candidates, in the order of the estimates
        by_code = dict(zip(*exact[query], strict=True))
        assert [by_code[code] for code in some[query][0][:12]] == some[query][1][:12].tolist()
    assert run(Muvera(model=str(tiny_encoder), k=5, candidates=12), context) == some.top(5)


def test_carving_changes_the_reranking_alone(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context, query = make_context(texts(40)), Queries.of(["cat dog cat cat river"])
    stage = Muvera(model=str(tiny_encoder), k=40, candidates=40, carve=0.3)
    state = stage.prepare(context)
    tokens = carve_all(stage.query_tokens(state.encoder, state.tokens, query.text), 0.3)
    assert len(tokens.vectors) < 5
    assert run(stage, context, query) == MaxSimScorer(state.tokens).search(tokens, 40)
    assert run(stage, context, query) != run(stage.model_copy(update={"carve": None}), context, query)


def test_what_is_not_reranked_keeps_the_differences_of_its_estimates(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(60))
    estimates = run(Muvera(model=str(tiny_encoder), k=60, rerank=False), context)
    found = run(Muvera(model=str(tiny_encoder), k=60, candidates=12), context)
    for query in range(3):
        old, new = estimates[query][1], found[query][1]
        assert new[12] < new[11]
        np.testing.assert_allclose(new[12:] - new[11], old[12:] - old[11], atol=1e-5)


def test_an_excluded_candidate_makes_room_for_another(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(40))
    stage, query = Muvera(model=str(tiny_encoder), k=3, candidates=5), Queries.of(["cat"])
    gone = np.sort(run(stage, context, query).doc)
    queries = Queries(query.qid, query.text, (gone.astype(np.int32),))
    wide = run(stage.model_copy(update={"candidates": 8, "k": 8}), context, query)
    assert run(stage, context, queries) == wide.without(queries.exclude).top(3)


def test_artifacts_depend_on_what_decides_them(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context, stage = make_context(texts(5)), Muvera(model=str(tiny_encoder))
    tokens, index = stage.artifacts(context)
    assert tokens.key == MaxSim(model=str(tiny_encoder)).artifacts(context)[-1].key
    for same in ({"k": 7}, {"candidates": 3}, {"rerank": False}, {"carve": 0.7}, {"batch_size": 1}):
        assert stage.model_copy(update=same).artifacts(context)[-1].key == index.key
    for other in (
        {"seed": 1},
        {"k_sim": 4},
        {"repetitions": 3},
        {"d_proj": 8},
        {"index": "pq"},
        {"final_dim": 64},
        {"fill_empty": False},
    ):
        assert stage.model_copy(update=other).artifacts(context)[-1].key != index.key


@pytest.mark.parametrize(
    "options", [{}, {"rerank": False}, {"fill_empty": False}, {"carve": 0.5, "candidates": 4, "k": 6}]
)
def test_the_contract(options: dict[str, Any], tiny_encoder: Path, tmp_path: Path) -> None:
    assert registry.stage_class("muvera") is Muvera
    stage = Muvera(model=str(tiny_encoder), repetitions=3, k_sim=3, d_proj=4, **options)
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"k_sim": 13}, "k_sim"),
        ({"repetitions": 0}, "repetitions"),
        ({"carve": 0.0}, "carve"),
        ({"carve": 1.01}, "carve"),
        ({"index": "hnsw"}, "index"),
        ({"seed": -1}, "seed"),
        (
            {"rerank": False, "carve": 0.7},
            "carve: nothing is reranked.*leave carve out, or give rerank: true",
        ),
        ({"rerank": False, "candidates": 50}, "candidates: nothing is reranked"),
        ({"rerank": False, "candidates": 50, "carve": 0.7}, "carve and candidates: nothing"),
        ({"final_dim": 10241}, "final_dim: 10241 does not reduce the 10240 .* give at most 10240"),
        ({"index": "pq", "final_dim": 100}, "pq cannot divide encodings of 100 .* or index: flat"),
        ({"index": "pq", "repetitions": 3, "k_sim": 0, "d_proj": 5}, "cannot divide encodings of 15 dim"),
        ({"index": "pq", "final_dim": 100, "d_proj": None}, "cannot divide encodings of 100"),
        ({"index": "pq", "k_sim": 0, "d_proj": None, "tokens": {"dim": 7}}, "cannot divide encodings of 140"),
    ],
)
def test_options_that_are_wrong_or_do_nothing_are_refused(bad: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        Muvera(**bad)


def test_options_at_their_limits_are_taken() -> None:
    assert Muvera(final_dim=10240, index="pq", carve=1.0).fde.size(384) == 10240
    assert not Muvera(rerank=False, candidates=200).rerank  # the default, as a stage's own options say it
    assert Muvera(
        index="pq", repetitions=3, k_sim=0, d_proj=None
    )  # 1152 with minilm: known when it is loaded
    assert Muvera(fill_empty=False).fde == FdeConfig(fill_empty=False)


def test_fill_empty_changes_the_documents(tiny_encoder: Path, make_context: Callable[..., Context]) -> None:
    context = make_context(texts(40))
    stage = Muvera(model=str(tiny_encoder), k=40, rerank=False, fill_empty=False)
    state = stage.prepare(context)
    assert not state.index._encoder.config.fill_empty
    assert run(stage, context) != run(stage.model_copy(update={"fill_empty": True}), context)


def test_nothing_heavy_is_loaded_before_it_is_prepared() -> None:
    code = (
        "import sys; from irkit.stages.multivector.muvera import Muvera; Muvera().fde;"
        "print([m for m in ('torch', 'numba', 'faiss', 'transformers', 'scipy', 'llvmlite') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
