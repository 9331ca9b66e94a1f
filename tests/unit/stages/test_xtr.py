"""Tests of XTR: the formula, exact token retrieval, and the stage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORDS

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.multivector import token_search
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.token_search import Formula, TokenSearch, default_k_prime
from irkit.stages.multivector.tokens import Tokens
from irkit.stages.multivector.xtr import Xtr
from irkit.testing.contract import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])
FORMULAS = [Formula(), Formula(impute="none"), Formula("retrieved", "none")]


def ragged(rng: np.random.Generator, lengths: list[int], dim: int = 16) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(offsets, unit(rng.normal(size=(offsets[-1], dim))))


def documents(rng: np.random.Generator, lengths: list[int], dim: int = 16) -> Tokens:
    made = ragged(rng, lengths, dim)
    return Tokens.of(made.offsets, made.vectors.astype(np.float16))


def reference(query: np.ndarray, tokens: Tokens, k_prime: int, formula: Formula) -> dict[int, float]:
    """The paper's formula by loops, in float64, of every document with a retrieved token."""
    vectors = tokens.span(0, int(tokens.offsets[-1])).astype(np.float64)
    owner = np.repeat(np.arange(len(tokens)), tokens.lengths)
    sums: dict[int, list[tuple[int, float]]] = {}
    missing = []
    for i, token in enumerate(np.round(query.astype(np.float64) * 2**20) / 2**20):
        products = vectors @ token
        retrieved = np.lexsort((-np.arange(len(products)), -products))[:k_prime]
        missing.append(products[retrieved].min() if formula.impute == "last" else 0.0)
        for doc in np.unique(owner[retrieved]):
            sums.setdefault(int(doc), []).append((i, products[retrieved][owner[retrieved] == doc].max()))
    scores = {}
    for doc, found in sums.items():
        best = dict(found)
        total = sum(best.get(i, missing[i]) for i in range(len(query)))
        scores[doc] = total / (len(query) if formula.normalise == "tokens" else len(best))
    return scores


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=30).filter(any),
    k_prime=st.integers(1, 120),
    depth=st.integers(1, 40),
    block=st.integers(1, 40),
    formula=st.sampled_from(FORMULAS),
)
def test_search_is_the_formula(
    seed: int, lengths: list[int], k_prime: int, depth: int, block: int, formula: Formula
) -> None:
    rng = np.random.default_rng(seed)
    tokens, queries = documents(rng, lengths), ragged(rng, [3, 1, 5])
    found = TokenSearch(tokens, k_prime, block=block).search(queries, depth, formula)
    for query in range(3):
        expected = reference(queries[query], tokens, k_prime, formula)
        best = sorted(expected, key=lambda doc: (-np.float32(expected[doc]), -doc))[:depth]
        docs, scores = found[query]
        assert docs.tolist() == best
        np.testing.assert_allclose(scores, [expected[doc] for doc in best], rtol=0, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), lengths=st.lists(st.integers(1, 6), min_size=1, max_size=30))
def test_retrieving_every_token_is_maxsim(seed: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    tokens, queries = documents(rng, lengths), ragged(rng, [4, 4])
    everything = TokenSearch(tokens, 10**9).search(queries, 30)
    exact = MaxSimScorer(tokens).search(queries, 30)
    assert everything == exact.with_scores(exact.score / np.float32(4))


def test_more_tokens_never_raise_a_score_above_the_truth() -> None:
    """The missing similarity is an upper bound, so scores fall towards MaxSim / n as k' grows."""
    rng = np.random.default_rng(1)
    tokens, queries = documents(rng, [4] * 40), ragged(rng, [5])
    before = None
    for k_prime in (5, 20, 80, 160):
        found = TokenSearch(tokens, k_prime).search(queries, 40)
        scores = dict(zip(found.doc.tolist(), found.score.tolist(), strict=True))
        if before is not None:
            assert all(scores[doc] <= score + 1e-7 for doc, score in before.items())
        before = scores
    assert len(before or ()) == 40


def test_equal_tokens_at_the_end_go_to_the_later_documents() -> None:
    """300 copies are more than the margin, so those beyond the candidates are looked up again."""
    one = unit(np.random.default_rng(2).normal(size=(1, 16)))
    tokens = Tokens.of(np.arange(301), np.tile(one.astype(np.float16), (300, 1)))
    query = Ragged(np.array([0, 1]), one)
    found = TokenSearch(tokens, 7, block=40).search(query, 10)
    assert found.doc.tolist() == list(range(299, 292, -1))
    assert len(set(found.score.tolist())) == 1


def test_products_that_float32_cannot_tell_apart_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without candidates to spare, what float32 takes for the k' best are others of 40 that it finds equal."""
    monkeypatch.setattr(token_search, "_MARGIN", 0)
    vectors = np.zeros((40, 4), np.float16)
    vectors[:, 0] = 1.0
    vectors[[9, 21, 30], 1] = np.array([2, 3, 1]) * 2.0**-10  # products 1 + j 2^-26
    query = Ragged(np.array([0, 1]), np.array([[1.0, 2.0**-16, 0.0, 0.0]], np.float32))
    for block in (7, 40):
        search = TokenSearch(Tokens.of(np.arange(41), vectors), 3, block=block)
        ((rows, products),) = next(iter(search.retrieve(query)))
        assert rows.tolist() == [9, 21, 30]
        assert products.tolist() == [1 + j * 2.0**-26 for j in (2, 3, 1)]


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_queries_that_are_not_finite_are_refused(wrong: float) -> None:
    rng = np.random.default_rng(5)
    query = ragged(rng, [3])
    query.vectors[2, 0] = wrong
    with pytest.raises(ValueError, match="finite"):
        TokenSearch(documents(rng, [4, 4])).search(query, 2)


def test_blocks_and_companions_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(3)
    tokens = documents(rng, rng.integers(0, 20, 300).tolist(), dim=384)
    queries = ragged(rng, rng.integers(0, 9, 12).tolist(), dim=384)
    whole = TokenSearch(tokens, 200).search(queries, 50)
    for block in (77, 1000):
        search = TokenSearch(tokens, 200, block=block)
        assert search.search(queries, 50) == whole
        for query in range(12):
            alone = Ragged(np.array([0, len(queries[query])]), queries[query])
            assert search.search(alone, 50) == whole.take([query])


@pytest.mark.parametrize("lengths", [[], [0], [0, 2, 0]])
def test_nothing_to_retrieve(lengths: list[int]) -> None:
    rng = np.random.default_rng(4)
    found = TokenSearch(documents(rng, lengths)).search(ragged(rng, [2, 0, 1]), 5)
    there = [1] if any(lengths) else []
    assert [docs.tolist() for docs, _ in found] == [there, [], there]
    assert len(TokenSearch(documents(rng, lengths)).search(ragged(rng, []), 5)) == 0


def test_default_k_prime() -> None:
    assert [default_k_prime(n) for n in (0, 7386, 4_000_000, 600_000_000, 10**11)] == [
        1000,
        1000,
        2000,
        24000,
        40000,
    ]


# -- the stage -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The stage under its name, also where the package was installed before it had one."""
    if "xtr" in registry.stage_names():
        registry.stage_class("xtr")
        yield
        return
    registry.register("xtr")(Xtr)
    yield
    registry._registered.pop("xtr")


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return ["", *(" ".join(rng.choice(WORDS, rng.integers(1, 50))) for _ in range(n - 1))]


def run(stage: Any, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_contract(index: str, tmp_path: Path, tiny_encoder: Path) -> None:
    own = {"k_prime": 20} if index == "exact" else {"nprobe": 3, "nlist": 9, "bits": 2, "seed": 1}
    stage = Xtr(model=str(tiny_encoder), index=index, k=5, **own)
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_reranking_everything_is_maxsim(
    index: str, tiny_colbert: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(40))
    queries = Queries.of(["cat dog", "five"])
    exact = run(MaxSim(model=str(tiny_colbert), k=8), context, queries)
    wide = {"rerank": 40, **({"nprobe": 1000} if index == "ivf" else {"k_prime": 10**6})}
    assert run(Xtr(model=str(tiny_colbert), index=index, k=8, **wide), context, queries) == exact
    some = run(Xtr(model=str(tiny_colbert), index=index, k=8, **{**wide, "rerank": 3}), context, queries)
    plain = run(Xtr(model=str(tiny_colbert), index=index, k=8, **{**wide, "rerank": None}), context, queries)
    for query in range(2):
        assert set(some[query][0][:3]) == set(plain[query][0][:3])
        assert some[query][0][3:].tolist() == plain[query][0][3:].tolist()
        truth = dict(zip(*(part.tolist() for part in exact[query]), strict=True))
        for doc, score in zip(*(part[:3].tolist() for part in some[query]), strict=True):
            assert truth.get(doc, score) == score


@pytest.mark.parametrize("docs", [[], ["cat"], ["", ""], ["cat dog", "", "river"]])
@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_tiny_collections(
    index: str, docs: list[str], tiny_colbert: Path, make_context: Callable[..., Context]
) -> None:
    found = run(Xtr(model=str(tiny_colbert), index=index), make_context(docs))
    assert len(found) == 4
    assert all(len(found[query][0]) == len(docs) for query in range(3))


def test_the_lists_are_built_once_and_said(tiny_colbert: Path, make_context: Callable[..., Context]) -> None:
    context, stage = make_context(texts(30)), Xtr(model=str(tiny_colbert), nprobe=2)
    run(stage, context)
    assert [recipe.kind for recipe in stage.artifacts(context)] == ["tokens", "xtr-ivf"]
    assert all(context.store.find(recipe) for recipe in stage.artifacts(context))
    other = stage.model_copy(update={"nprobe": 7, "k": 3, "impute": "none", "t_prime": 9})
    assert other.artifacts(context) == stage.artifacts(context)
    assert Xtr(model=str(tiny_colbert), bits=2).artifacts(context)[-1] != stage.artifacts(context)[-1]
    assert [recipe.kind for recipe in Xtr(index="exact").artifacts(context)] == ["tokens"]
    assert "inverted lists" in context.notes["index"]


def test_work_is_added_up_over_the_run(tiny_colbert: Path, make_context: Callable[..., Context]) -> None:
    context, stage = make_context(texts(30)), Xtr(model=str(tiny_colbert), nprobe=2)
    together = run(stage, context)
    whole = {name: context.notes[name] for name in ("share of tokens scored", "share of tokens touched")}
    assert 0 < whole["share of tokens scored"] <= whole["share of tokens touched"] < 1
    state = stage.prepare(context)
    parts = [stage.run(Batch(QUERIES.take(rows)), state) for rows in ([0], [1, 2, 3])]
    assert {name: context.notes[name] for name in whole} == whole
    assert Rankings.concat(parts) == together
    assert stage.chunk <= 256  # queries that are run, and lost by a kill, together


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k_prime": 9}, r"no use of k_prime: leave it out, or set index: exact"),
        ({"index": "exact", "nprobe": 9}, r"no use of nprobe: leave it out, or set index: ivf"),
        ({"index": "exact", "bits": 2, "seed": 1}, r"no use of bits, seed: leave them out"),
        ({"index": "exact", "nlist": 9}, "nlist"),
        ({"index": "exact", "t_prime": 9}, "t_prime"),
        ({"impute": "none", "t_prime": 9}, "t_prime: leave it out, or set impute: last"),
    ],
)
def test_options_that_do_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.make_stage("xtr", **options)


def test_retrieved_has_nothing_imputed() -> None:
    registry.make_stage("xtr", normalise="retrieved", impute="none")
    with pytest.raises(ConfigError, match="impute: none"):
        registry.make_stage("xtr", normalise="retrieved")


def test_making_the_stage_loads_nothing_heavy() -> None:
    code = (
        "import sys; from irkit.stages.multivector.xtr import Xtr; Xtr();"
        "print([m for m in ('torch', 'numba', 'faiss', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
