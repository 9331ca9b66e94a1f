"""Tests of the stage muvera and its indexes: estimates, reranking, and one result whatever the batch."""

from __future__ import annotations

import subprocess
import sys
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
from irkit.stages.multivector.tokens import Tokens
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


def test_pq_finds_nearly_the_same(
    collection: tuple[Tokens, Ragged], make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fde_index, "_SHARD", 500)
    tokens, queries = collection
    encoder, context = FdeEncoder(FdeConfig(), 16), make_context(["a"])
    exact = indexed(context, "flat", tokens, encoder).search(queries, 10)
    index = indexed(context, "pq", tokens, encoder)
    near = index.search(queries, 100)
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
        (tokens, FdeConfig(final_dim=100), "pq", "cannot divide 100"),
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
    plain = Muvera(model=str(tiny_encoder), k=40, rerank=False)
    assert run(plain, context, query) == run(plain.model_copy(update={"carve": 0.3}), context, query)


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
    ):
        assert stage.model_copy(update=other).artifacts(context)[-1].key != index.key


@pytest.mark.parametrize("options", [{}, {"rerank": False}, {"carve": 0.5, "candidates": 4, "k": 6}])
def test_the_contract(
    options: dict[str, Any], tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "muvera" not in registry._entries():
        registry.register("muvera")(Muvera)
    stage = Muvera(model=str(tiny_encoder), repetitions=3, k_sim=3, d_proj=4, **options)
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})


@pytest.mark.parametrize(
    "bad", [{"k_sim": 13}, {"repetitions": 0}, {"carve": 0.0}, {"index": "hnsw"}, {"seed": -1}]
)
def test_options_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Muvera(**bad)


def test_nothing_heavy_is_loaded_before_it_is_prepared() -> None:
    code = (
        "import sys; from irkit.stages.multivector.muvera import Muvera; Muvera().fde;"
        "print([m for m in ('torch', 'numba', 'faiss', 'transformers', 'scipy', 'llvmlite') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
