"""Tests of the dense stage: against sentence-transformers, resumable, exact, and light until it is prepared."""

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

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages import encoding
from irkit.stages.dense import Dense

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 50))) for _ in range(n)]


def run(stage: Dense, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


def test_the_ranking_is_that_of_sentence_transformers(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    from sentence_transformers import SentenceTransformer

    docs = texts(60)
    found = run(Dense(model=str(tiny_encoder), k=60), make_context(docs))
    oracle = SentenceTransformer(str(tiny_encoder), device="cpu")
    expected = oracle.similarity(
        oracle.encode_query(list(QUERIES.text)), oracle.encode_document(docs)
    ).numpy()
    for query in range(4):
        codes, scores = found[query]
        np.testing.assert_allclose(scores, expected[query][codes], atol=5e-6)
        assert sorted(codes.tolist()) == list(range(60))
        assert (np.diff(expected[query][codes]) < 1e-5).all()


def test_similarity_is_an_option(tiny_encoder: Path, make_context: Callable[..., Context]) -> None:
    context, docs = make_context(texts(40)), texts(40)
    dot = run(Dense(model=str(tiny_encoder), similarity="dot"), context)
    cosine = run(Dense(model=str(tiny_encoder), similarity="cosine"), context)
    from irkit.models import resolve
    from irkit.models.encoder import Encoder

    encoder = Encoder(resolve(str(tiny_encoder)), device="cpu")
    plain = encoder.vectors(QUERIES.text, "query") @ encoder.vectors(docs, "document").T
    np.testing.assert_allclose(dot.score[0], plain[0].max(), rtol=1e-6)
    np.testing.assert_allclose(plain[0][dot[0][0]], dot[0][1], rtol=1e-6)
    assert not np.array_equal(dot.doc, cosine.doc)
    assert cosine.score.max() <= 1.0 + 1e-6 < dot.score.max()


def test_equal_documents_tie_and_the_later_code_comes_first(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(["cat dog"] * 50 + ["moon sun"] * 50)
    found = run(Dense(model=str(tiny_encoder), k=10), context, Queries.of(["cat dog", "moon sun"]))
    assert found.doc.tolist() == [*range(49, 39, -1), *range(99, 89, -1)]
    assert len(set(found[0][1].tolist())) == 1


def test_execution_options_change_nothing(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Dense(model=str(tiny_encoder), k=20)
    docs = texts(80)
    expected = run(stage, make_context(docs, store="one"))
    monkeypatch.setattr(encoding, "SHARD", 7)
    other = stage.model_copy(update={"batch_size": 3, "device": "cpu"})
    assert run(other, make_context(docs, threads=2, store="two")) == expected
    assert other.meaning() == stage.meaning()
    one_by_one = other.prepare(make_context(docs, store="two"))
    parts = [other.run(Batch(QUERIES.take([i])), one_by_one) for i in range(4)]
    assert Rankings.concat(parts) == expected  # type: ignore[arg-type]


def test_an_interrupted_build_goes_on(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.models.encoder import Encoder

    monkeypatch.setattr(encoding, "SHARD", 10)
    stage, docs = Dense(model=str(tiny_encoder), k=20), texts(45)
    expected = run(stage, make_context(docs, store="whole"))
    encoded: list[int] = []
    vectors = Encoder.vectors

    def failing(self: Encoder, some: Any, side: Any) -> Any:
        if side == "document":
            if len(encoded) == 3:
                raise KeyboardInterrupt
            encoded.append(len(some))
        return vectors(self, some, side)

    monkeypatch.setattr(Encoder, "vectors", failing)
    with pytest.raises(KeyboardInterrupt):
        run(stage, make_context(docs, store="cut"))
    encoded[:] = []
    assert run(stage, make_context(docs, store="cut")) == expected
    assert encoded == [10, 5]  # of 5 shards 3 were there


def test_the_artifact_depends_on_what_decides_the_vectors(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(5))
    stage = Dense(model=str(tiny_encoder))
    key = stage.artifacts(context)[0].key
    for same in ({"k": 7}, {"batch_size": 1}, {"query_prompt": "x "}):
        assert stage.model_copy(update=same).artifacts(context)[0].key == key
    for other in ({"dtype": "bfloat16"}, {"max_length": 9}, {"document_prompt": "x "}, {"similarity": "dot"}):
        assert stage.model_copy(update=other).artifacts(context)[0].key != key
    assert stage.artifacts(make_context(texts(6)))[0].key != key
    hnsw = stage.model_copy(update={"index": "hnsw"})
    assert [recipe.kind for recipe in hnsw.artifacts(context)] == ["vectors", "faiss"]
    assert hnsw.artifacts(context)[0].key == key


def test_hnsw_over_few_documents_is_as_good_as_exact(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(sorted(set(texts(70))))
    exact = run(Dense(model=str(tiny_encoder), k=5), context)
    assert run(Dense(model=str(tiny_encoder), k=5, index="hnsw"), context) == exact


def test_excluded_documents_are_replaced_by_the_next(
    tiny_encoder: Path, make_context: Callable[..., Context]
) -> None:
    context, stage = make_context(texts(30)), Dense(model=str(tiny_encoder), k=5)
    query = Queries.of(["cat"])
    first = run(stage, context, query)
    gone = np.sort(first.doc[:2])
    found = run(stage, context, Queries(query.qid, query.text, (gone,)))
    assert len(found.doc) == 5
    assert found.doc[:3].tolist() == first.doc[2:].tolist()


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        Dense(index="annoy")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Dense(hnsw={"mm": 3})  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Dense(batch_size=0)


def test_importing_and_creating_neural_stages_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from irkit.stages.dense import Dense\n"
        "from irkit.stages.multivector.maxsim import MaxSim\n"
        "from irkit.stages.rerank.cross_encoder import CrossEncoder\n"
        "Dense(index='hnsw'); MaxSim(); CrossEncoder(model='ms-marco-minilm')\n"
        "heavy = ('torch', 'transformers', 'sentence_transformers', 'faiss', 'numba', 'huggingface_hub', 'jnius')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_names_of_one_snapshot_with_other_prompts_have_other_keys(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.models import resolve
    from irkit.models.catalogue import Entry
    from irkit.stages.multivector.maxsim import MaxSim

    prompts = {"plain": {}, "again": {}, "green": {"query": "red ", "document": "green "}}
    entries = {
        name: Entry(name, "encoder", "", "MIT", "", hub="org/one", prompts=each)
        for name, each in prompts.items()
    }
    resolving = sys.modules["irkit.models.resolve"]  # the attribute of irkit.models is the function
    for module in (resolving, encoding):
        monkeypatch.setattr(module, "catalogue", lambda: entries)
    monkeypatch.setattr(resolving, "cached_snapshot", lambda repo, revision: tiny_encoder)
    assert resolve("plain").fingerprint == resolve("green").fingerprint
    context = make_context(texts(10))
    for kind in (Dense, MaxSim):
        plain, again, green = (kind(model=name) for name in prompts)
        assert plain.identity(context) == again.identity(context) != green.identity(context)
        keys = [[recipe.spec for recipe in stage.artifacts(context)] for stage in (plain, again, green)]
        assert keys[0] == keys[1] != keys[2]


def test_artifacts_have_versions_of_their_own(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, stage = make_context(texts(10)), Dense(model=str(tiny_encoder), index="hnsw")
    vectors, index = stage.artifacts(context)
    monkeypatch.setattr("irkit.stages.faiss_index.BUILD", 99)
    assert stage.artifacts(context)[0] == vectors and stage.artifacts(context)[1] != index
    monkeypatch.setattr(encoding, "ENCODING", 99)
    assert stage.artifacts(context)[0] != vectors


@pytest.mark.parametrize("index", ["hnsw", "ivf-pq"])
def test_an_approximate_index_does_not_look_at_what_other_queries_exclude(
    tiny_encoder: Path, make_context: Callable[..., Context], index: str
) -> None:
    options = {
        "hnsw": {"m": 2, "ef_construction": 2, "ef_search": 1},
        "ivf_pq": {"m": 4, "nprobe": 4, "refine": 1},
    }
    context = make_context(texts(1200, 3))
    stage = Dense(model=str(tiny_encoder), index=index, k=5, **options)  # type: ignore[arg-type]
    many = tuple(np.arange(n, dtype=np.int32) for n in (0, 50, 1, 50, 0))
    queries = Queries(tuple("abcde"), (*QUERIES.text[:3], "moon", "sun red"), many)
    state = stage.prepare(context)
    whole = stage.run(Batch(queries), state)
    for row in range(5):
        assert stage.run(Batch(queries.take([row])), state) == whole.take([row])
