"""Tests of feedback for dense retrieval: the formulas, what leaves the run as it is, and the space of the index."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.changes import changes, query_nodes
from irkit.models import resolve
from irkit.models.encoder import Encoder, unit
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.forms import TOLD, restored, vectors_of
from irkit.stages.query.gate import Gate
from irkit.stages.query.vector_prf import VectorPrf
from irkit.testing import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])
ROCCHIO: dict[str, Any] = {
    "method": "rocchio",
    "fb_docs": 2,
    "alpha": 0.6,
    "beta": 0.5,
    "gamma": 0.3,
    "bottom": 3,
}


def texts(n: int = 40) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(n)]


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context(texts())


def expand(stage: VectorPrf, context: Context, queries: Queries, rankings: Rankings) -> Queries:
    return stage.run(Batch(queries, (rankings,)), stage.prepare(context))


def search(stage: Dense, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def vectors(queries: Queries) -> np.ndarray:
    column = queries.columns["vector"]
    assert column.dtype == np.float32
    return column


def reference(model: Path, side: str, some: list[str], cosine: bool = True) -> np.ndarray:
    found = Encoder(resolve(str(model)), device="cpu").vectors(some, side)  # type: ignore[arg-type]
    wide = found.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(norms > 0, norms, 1) if cosine else wide


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_average_is_the_mean_of_the_query_and_its_documents(
    tiny_encoder: Path, context: Context, similarity: Any
) -> None:
    model = str(tiny_encoder)
    first = search(Dense(model=model, k=10, similarity=similarity), context)
    made = expand(VectorPrf(model=model, method="average", similarity=similarity), context, QUERIES, first)
    asked = reference(tiny_encoder, "query", list(QUERIES.text), similarity == "cosine")
    docs = reference(tiny_encoder, "document", texts(), similarity == "cosine")
    for row, (codes, _) in enumerate(first):
        expected = (asked[row] + docs[codes[0]] + docs[codes[1]] + docs[codes[2]]) / 4
        np.testing.assert_allclose(vectors(made)[row], expected, atol=1e-6)
    assert np.linalg.norm(vectors(made)[0]) != pytest.approx(1, abs=1e-3)  # not brought back to length 1


def test_rocchio_adds_the_first_documents_and_takes_the_last_ones_off(
    tiny_encoder: Path, context: Context
) -> None:
    first = search(Dense(model=str(tiny_encoder), k=10), context)
    made = expand(VectorPrf(model=str(tiny_encoder), **ROCCHIO), context, QUERIES, first)
    asked = reference(tiny_encoder, "query", list(QUERIES.text))
    docs = reference(tiny_encoder, "document", texts())
    for row, (codes, _) in enumerate(first):
        top, last = docs[codes[:2]].mean(axis=0), docs[codes[-3:]].mean(axis=0)
        np.testing.assert_allclose(vectors(made)[row], 0.6 * asked[row] + 0.5 * top - 0.3 * last, atol=1e-6)


def test_dense_searches_the_new_vector_as_it_is(tiny_encoder: Path, context: Context) -> None:
    dense = Dense(model=str(tiny_encoder), k=40)
    made = expand(VectorPrf(model=str(tiny_encoder), **ROCCHIO), context, QUERIES, search(dense, context))
    docs = reference(tiny_encoder, "document", texts())
    for row, (codes, scores) in enumerate(search(dense, context, made)):
        expected = docs @ vectors(made)[row].astype(np.float64)
        np.testing.assert_allclose(scores, expected[codes], atol=1e-6)
        assert codes[0] == np.argmax(expected)


def test_feedback_comes_from_any_ranking_and_only_as_much_as_there_is(
    tiny_encoder: Path, context: Context
) -> None:
    given = Rankings.from_lists(
        [[7, 3], [5], [], [9, 8, 7, 6]], [[2.0, 1.0], [1.0], [], [4.0, 3.0, 2.0, 1.0]]
    )
    made = expand(VectorPrf(model=str(tiny_encoder), method="average"), context, QUERIES, given)
    asked = reference(tiny_encoder, "query", list(QUERIES.text))
    docs = reference(tiny_encoder, "document", texts())
    for row, codes in enumerate(([7, 3], [5], [], [9, 8, 7])):
        expected = np.vstack([asked[row], docs[codes]]).mean(axis=0)
        np.testing.assert_allclose(vectors(made)[row], expected, atol=1e-6)
    told = [lines[-1] for lines in made.columns[TOLD]]
    cosine = asked[0] @ vectors(made)[0] / np.linalg.norm(vectors(made)[0])
    assert told[0] == f"vector-prf: 2 documents, cosine to the query {cosine:.2f}"
    assert told[2] == "vector-prf: the query as it was, for it has no documents"


UNCHANGED: list[dict[str, Any]] = [
    {"fb_docs": 0},
    {"fb_docs": 0, "method": "average"},
    {"alpha": 1.0, "beta": 0.0, "gamma": 0.0, "bottom": 5},
    {"alpha": 1.0, "beta": 0.0},
    {"method": "average", "gate": Gate(least=1.0)},
]


@pytest.mark.parametrize("options", UNCHANGED)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_nothing_to_add_leaves_the_run_as_it_is(
    tiny_encoder: Path, context: Context, options: dict[str, Any], similarity: Any
) -> None:
    dense = Dense(model=str(tiny_encoder), k=20, similarity=similarity)
    first = search(dense, context)
    made = expand(
        VectorPrf(model=str(tiny_encoder), similarity=similarity, **options), context, QUERIES, first
    )
    encoded = Encoder(resolve(str(tiny_encoder)), device="cpu").vectors(QUERIES.text, "query")
    expected = unit(encoded) if similarity == "cosine" else encoded
    assert vectors(made).tobytes() == expected.tobytes()
    assert search(dense, context, made) == first
    changed = expand(
        VectorPrf(model=str(tiny_encoder), similarity=similarity, method="average"), context, QUERIES, first
    )
    assert search(dense, context, changed) != first


def test_it_takes_up_the_vector_of_a_stage_before(tiny_encoder: Path, context: Context) -> None:
    first = search(Dense(model=str(tiny_encoder), k=10), context)
    stage = VectorPrf(model=str(tiny_encoder), alpha=0.5, beta=0.5, fb_docs=1)
    once = expand(stage, context, QUERIES, first)
    twice = expand(stage, context, once, first)
    top = reference(tiny_encoder, "document", texts())[[codes[0] for codes, _ in first]]
    np.testing.assert_allclose(vectors(twice), 0.5 * vectors(once) + 0.5 * top, atol=1e-6)
    assert len(twice.columns[TOLD][0]) == 2
    anew = expand(
        stage, context, restored(once, QUERIES.text), first
    )  # a text that was replaced has no vector
    assert vectors(anew).tobytes() == vectors(once).tobytes()


def test_a_vector_of_another_index_is_refused(tiny_encoder: Path, context: Context) -> None:
    first = search(Dense(model=str(tiny_encoder), k=10), context)
    made = expand(VectorPrf(model=str(tiny_encoder)), context, QUERIES, first)
    other = VectorPrf(model=str(tiny_encoder), similarity="dot")
    with pytest.raises(ConfigError, match=r"belong to another index(?s:.)*same model, dtype"):
        expand(other, context, made, first)
    with pytest.raises(ConfigError, match="belong to another index"):
        search(Dense(model=str(tiny_encoder), document_prompt="sun "), context, made)
    with pytest.raises(ConfigError, match="belong to another index"):
        vectors_of(made, "elsewhere")


# -- Pyserini ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyserini() -> ModuleType:
    """Pyserini's formulas, without what its package starts: Java."""
    package = find_spec("pyserini")
    if package is None or not package.submodule_search_locations:
        pytest.skip("pyserini is not installed")
    file = Path(package.submodule_search_locations[0]) / "search" / "faiss" / "_prf.py"
    stubs = {"pyserini.encode": "AnceQueryEncoder", "pyserini.search.lucene": "LuceneSearcher"}
    modules = {name: ModuleType(name) for name in ("pyserini", "pyserini.search", *stubs)}
    for name, member in stubs.items():
        setattr(modules[name], member, object)
    spec = spec_from_file_location("pyserini_prf", file)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in {**modules, "pyserini_prf": found}.items():
            patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(found)
    return found


weight = st.floats(0, 2, allow_nan=False)


@given(
    seed=st.integers(0, 1000), docs=st.integers(1, 12), top=st.integers(1, 6), bottom=st.integers(0, 6),
    alpha=weight, beta=weight, gamma=weight,
)  # fmt: skip
def test_the_formulas_are_pyserinis(
    pyserini: ModuleType, seed: int, docs: int, top: int, bottom: int, alpha: float, beta: float, gamma: float
) -> None:
    rng = np.random.default_rng(seed)
    query, matrix = unit(rng.normal(size=(1, 8)))[0], unit(rng.normal(size=(20, 8)))
    codes = rng.permutation(20)[:docs].astype(np.int32)
    ranked = [pyserini.PrfDenseSearchResult(str(code), 0.0, matrix[code]) for code in codes]
    away: dict[str, Any] = {"gamma": gamma, "bottom": bottom} if bottom else {}
    rocchio = VectorPrf(method="rocchio", fb_docs=top, alpha=alpha, beta=beta, **away)
    theirs = pyserini.DenseVectorRocchioPrf(alpha, beta, gamma, top, bottom).get_prf_q_emb(query, ranked)
    np.testing.assert_allclose(rocchio.moved(query, matrix, codes), theirs, atol=2e-6)
    theirs = pyserini.DenseVectorAveragePrf().get_prf_q_emb(query, ranked[:top])
    average = VectorPrf(method="average", fb_docs=top)
    np.testing.assert_allclose(average.moved(query, matrix, codes), theirs, atol=1e-6)


# -- ANCE-PRF ---------------------------------------------------------------------------------------------------


def ance(tiny_encoder: Path, **options: Any) -> VectorPrf:
    return VectorPrf(model=str(tiny_encoder), method="ance-prf", checkpoint=str(tiny_encoder), **options)


def test_ance_prf_reads_the_query_and_its_documents(tiny_encoder: Path, context: Context) -> None:
    from sentence_transformers import SentenceTransformer

    first = search(Dense(model=str(tiny_encoder), k=10), context)
    made = expand(ance(tiny_encoder, fb_docs=2), context, QUERIES, first)
    oracle, docs = SentenceTransformer(str(tiny_encoder), device="cpu"), texts()
    for row, (codes, _) in enumerate(first):
        parts = [
            f"red {QUERIES.text[row]}",
            docs[codes[0]],
            docs[codes[1]],
        ]  # the checkpoint's prompt for queries
        fed = "[SEP]".join(parts)
        published = oracle.tokenizer(f"[CLS]{fed}[SEP]", add_special_tokens=False)["input_ids"]
        assert oracle.tokenizer(fed)["input_ids"] == published
        expected = oracle.encode([fed], prompt="", normalize_embeddings=True)[0]
        np.testing.assert_allclose(vectors(made)[row], expected, atol=2e-6)
    assert search(Dense(model=str(tiny_encoder), k=10), context, made) != first


def test_ance_prf_without_documents_is_the_model(tiny_encoder: Path, context: Context) -> None:
    dense = Dense(model=str(tiny_encoder), k=10)
    first = search(dense, context)
    assert search(dense, context, expand(ance(tiny_encoder, fb_docs=0), context, QUERIES, first)) == first


def test_a_checkpoint_of_another_dimension_is_refused(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense as Layer

    grown = SentenceTransformer(str(tiny_encoder), device="cpu")
    grown.append(Layer(32, 16))
    grown.save_pretrained(str(tmp_path / "grown"))
    stage = VectorPrf(model=str(tiny_encoder), method="ance-prf", checkpoint=str(tmp_path / "grown"))
    with pytest.raises(ModelError, match=r"16 dimensions, the index has 32"):
        stage.prepare(make_context(texts()))


def test_a_model_without_a_separator_cannot_read_feedback(
    tiny_encoder: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ance(tiny_encoder)
    state = stage.prepare(context)
    assert state.checkpoint is not None
    state.checkpoint._model.tokenizer.sep_token = None
    with pytest.raises(ModelError, match="no separator"):
        stage.run(Batch(QUERIES, (Rankings.from_lists([[1]] * 4, [[1.0]] * 4),)), state)


def test_a_closed_gate_gives_no_vector_that_people_are_told_of(tiny_encoder: Path, context: Context) -> None:
    model = str(tiny_encoder)
    dense, prf = (registry.make_stage(name, model=model) for name in ("dense", "vector-prf"))
    end = (dense >> prf >> dense).graph()
    (node,) = query_nodes(end)
    given = Rankings.from_lists([[7, 3], [], [5], [9]], [[2.0, 1.0], [], [1.0], [1.0]])
    made = expand(VectorPrf(model=model), context, QUERIES, given)
    moved, kept, *_ = (steps[0] for steps in changes(QUERIES, {node: made}))
    assert moved.forms == ("vector",)
    assert (kept.forms, kept.changed) == ((), False)
    assert kept.told == ("vector-prf: the query as it was, for it has no documents",)


# -- as a stage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "average", "alpha": 0.5}, "alpha belongs to method: rocchio"),
        ({"method": "average", "bottom": 5}, "bottom belongs to method: rocchio"),
        ({"method": "ance-prf"}, "go together"),
        ({"checkpoint": "minilm"}, "go together"),
        ({"beta": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VectorPrf(**options)


@pytest.mark.parametrize("options", [{"method": "average"}, ROCCHIO, {"gate": Gate()}, "ance"])
def test_contract(tiny_encoder: Path, tmp_path: Path, options: Any) -> None:
    assert registry.stage_class("vector-prf") is VectorPrf
    stage = ance(tiny_encoder) if options == "ance" else VectorPrf(model=str(tiny_encoder), **options)
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})


def test_a_later_stage_must_take_the_vector(tiny_encoder: Path) -> None:
    model = str(tiny_encoder)
    dense, prf = (registry.make_stage(name, model=model) for name in ("dense", "vector-prf"))
    (dense >> prf >> dense).graph()
    (registry.make_stage("bm25") >> prf >> dense).graph()
    with pytest.raises(ConfigError, match="takes the vector that it gives"):
        (dense >> prf >> registry.make_stage("bm25")).graph()
    with pytest.raises(ConfigError, match="needs rankings"):
        (prf >> dense).graph()


def test_the_artifact_is_that_of_dense(tiny_encoder: Path, context: Context) -> None:
    options: dict[str, Any] = {"model": str(tiny_encoder), "max_length": 20, "similarity": "dot"}
    wanted = Dense(**options).artifacts(context)
    assert [each.key for each in VectorPrf(**options).artifacts(context)] == [each.key for each in wanted]
    assert ance(tiny_encoder).artifacts(context) == []
    assert "checkpoint" in ance(tiny_encoder).identity(context)
