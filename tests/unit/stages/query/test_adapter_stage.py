"""Tests of the stage ``adapter``: in front of an index that stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import WORDS

from irkit.core.errors import ConfigError, ModelError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models import resolve
from irkit.models.adapter import Adapter, LowRank
from irkit.models.encoder import Encoder, unit
from irkit.models.resolve import identify
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.forms import TOLD
from irkit.stages.query.adapter import Adapt
from irkit.stages.query.vector_prf import VectorPrf
from irkit.testing import check_stage

QUERIES = Queries.of(["cat dog", "green stone river", "five", ""])


def texts(n: int = 30) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(n)]


def low_rank(seed: int, scale: float = 0.3) -> LowRank:
    rng = np.random.default_rng(seed)
    return LowRank(*(scale * rng.normal(size=shape).astype(np.float32) for shape in ((32, 4), (4, 32))))


def saved(folder: Path, model: Path, *, scale: float = 0.3, similarity: str = "cosine") -> Adapter:
    made = Adapter(low_rank(1, scale), low_rank(2, scale), str(model), identify(str(model)), similarity)
    made.save(folder)
    return made


def adapted(stage: Adapt, context: Context, queries: Queries = QUERIES) -> Queries:
    return stage.run(Batch(queries), stage.prepare(context))


def search(stage: Dense, context: Context, queries: Queries = QUERIES) -> Rankings:
    found = stage.run(Batch(queries), stage.prepare(context))
    assert isinstance(found, Rankings)
    return found


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("side", [None, "both", "query"])
def test_the_run_is_that_of_vectors_that_were_adapted_one_by_one(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context], side: Any, similarity: Any
) -> None:
    model, context = str(tiny_encoder), make_context(texts())
    made = saved(tmp_path / "it", tiny_encoder, similarity=similarity)
    dense = Dense(model=model, k=30, similarity=similarity)
    first = search(dense, context)
    stage = Adapt(model=model, path=str(tmp_path / "it"), side=side, similarity=similarity)
    found = search(dense, context, adapted(stage, context))
    encoder = Encoder(resolve(model), device="cpu")
    q, d = encoder.vectors(QUERIES.text, "query"), encoder.vectors(texts(), "document")
    if similarity == "cosine":
        q, d = unit(q), unit(d)
    if side != "query":
        d = made.of_document(d)
    expected = made.query_side().of_query(q).astype(np.float64) @ d.astype(np.float64).T
    for row, (codes, scores) in enumerate(found):
        np.testing.assert_allclose(scores, expected[row][codes], rtol=1e-5, atol=1e-5)
        assert (np.diff(expected[row][codes]) < 1e-4).all()
    assert found != first
    assert [each.kind for each in context.store.artifacts()].count(
        "vectors"
    ) == 1  # the index was not made again


def test_a_zero_adapter_leaves_the_run_as_it_is(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    model, context = str(tiny_encoder), make_context(texts())
    saved(tmp_path / "it", tiny_encoder, scale=0.0)
    dense = Dense(model=model, k=30)
    made = adapted(Adapt(model=model, path=str(tmp_path / "it")), context)
    plain = unit(Encoder(resolve(model), device="cpu").vectors(QUERIES.text, "query"))
    assert made.columns["vector"].tobytes() == plain.tobytes()
    assert search(dense, context, made) == search(dense, context)
    assert made.columns[TOLD][0] == ["adapter: cosine to the query 1.00"]


def test_it_takes_up_the_vector_of_feedback(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    model, context = str(tiny_encoder), make_context(texts())
    made = saved(tmp_path / "it", tiny_encoder)
    prf = VectorPrf(model=model, method="average")
    fed = prf.run(Batch(QUERIES, (search(Dense(model=model), context),)), prf.prepare(context))
    after = adapted(Adapt(model=model, path=str(tmp_path / "it")), context, fed)
    assert after.columns["vector"].tobytes() == made.of_query(fed.columns["vector"]).tobytes()


def test_faults_of_the_folder_are_told_when_the_experiment_is_read(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    ((option, problem),) = Adapt(path="nowhere").faults(tmp_path)
    assert option == "path"
    assert "there is no such folder" in problem.message
    Adapter(low_rank(1), None, "tiny", "f").save(tmp_path / "one")
    assert Adapt(path="one").faults(tmp_path) == []
    ((_, problem),) = Adapt(path="one", side="both").faults(tmp_path)
    assert "no side of documents" in problem.message


def test_another_model_or_similarity_is_refused(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    context, model = make_context(texts(3)), str(tiny_encoder)
    Adapter(low_rank(1), None, "elsewhere", "f").save(tmp_path / "strange")
    with pytest.raises(ModelError, match="belongs to the model 'elsewhere'"):
        Adapt(model=model, path=str(tmp_path / "strange")).prepare(context)
    saved(tmp_path / "dot", tiny_encoder, similarity="dot")
    with pytest.raises(ModelError, match=r"similarity dot(?s:.)*set similarity: dot"):
        Adapt(model=model, path=str(tmp_path / "dot")).prepare(context)


def test_the_adapter_is_part_of_what_names_the_results(
    tiny_encoder: Path, tmp_path: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(texts(3))
    stage = Adapt(model=str(tiny_encoder), path=str(tmp_path / "it"))
    saved(tmp_path / "it", tiny_encoder)
    one = stage.identity(context)
    saved(tmp_path / "it", tiny_encoder, scale=0.2)
    assert stage.identity(context) != one


def test_contract(tiny_encoder: Path, tmp_path: Path) -> None:
    saved(tmp_path / "it", tiny_encoder)
    stage = registry.make_stage("adapter", model=str(tiny_encoder), path=str(tmp_path / "it"))
    check_stage(stage, tmp_path / "check", other_execution={"batch_size": 3})
    (stage >> registry.make_stage("dense", model=str(tiny_encoder))).graph()
    with pytest.raises(ConfigError, match="takes the vector that it gives"):
        (stage >> registry.make_stage("bm25")).graph()
