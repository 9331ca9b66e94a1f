"""HyDE's vector: the mean of the query's and the passages', in the space that dense searches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_collection

from irkit.core.queries import Queries
from irkit.data.open import open_collection
from irkit.models.writers import Prompt, Sampling
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.stages.dense import Dense
from irkit.stages.forms import TOLD, vectors_of, with_vectors
from irkit.stages.query.hyde import Hyde, HydeState
from irkit.stages.query.vectors import VectorSpace
from irkit.store import Store
from irkit.testing import check_stage


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    if "hyde" not in registry.stage_names():
        registry.register("hyde", Hyde)


class Encoder:
    """A query is (length, 1, 0), a document (length, 0, 2)."""

    def vectors(self, texts: Sequence[str], side: str) -> np.ndarray:
        behind = (1, 0) if side == "query" else (0, 2)
        return np.array([(len(text), *behind) for text in texts], np.float32).reshape(-1, 3)


class Author:
    def __init__(self, *texts: str) -> None:
        self.said, self.asked = list(texts), []

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        self.asked.append((list(prompts), count, sampling))
        return [self.said[:count] if each else [] for each in prompts]


def state(author: Author, *, cosine: bool = False) -> HydeState:
    return HydeState(author, VectorSpace(Encoder(), cosine, "space"))  # type: ignore[arg-type]


def test_the_mean_of_query_and_passages() -> None:
    author = Author("aa", "bbbbbb")
    found = Hyde(task="scifact").run(Batch(Queries.of(["qqqq", " "])), state(author))
    vectors = vectors_of(found, "space")
    assert vectors is not None
    np.testing.assert_allclose(vectors, [[(4 + 2 + 6) / 3, 1 / 3, 4 / 3], [1, 1, 0]], rtol=1e-7)
    assert found.text == ("qqqq", " ")
    (prompts, count, sampling) = author.asked[0]
    assert prompts[0][0].user.startswith(
        "Please write a scientific paper passage to support/refute the claim.\nClaim: qqqq"
    )
    assert prompts[1] == []
    assert (count, sampling) == (8, Sampling(temperature=0.7, top_p=1.0, max_tokens=512))
    assert "2 passages" in found.columns[TOLD][0][0]
    assert not found.columns[TOLD][1]


def test_with_cosine_each_has_length_one_and_the_mean_has_not() -> None:
    found = Hyde().run(Batch(Queries.of(["qqqq"])), state(Author("aa"), cosine=True))
    vectors = vectors_of(found, "space")
    assert vectors is not None
    query, passage = np.array([4, 1, 0]) / np.sqrt(17), np.array([2, 0, 2]) / np.sqrt(8)
    np.testing.assert_allclose(vectors[0], (query + passage) / 2, rtol=1e-6)
    assert np.linalg.norm(vectors[0]) < 0.99


def test_a_vector_that_is_there_goes_in() -> None:
    before = with_vectors(Queries.of(["qqqq"]), np.array([[3, 3, 3]], np.float32), "space")
    vectors = vectors_of(Hyde().run(Batch(before), state(Author("aa"))), "space")
    assert vectors is not None
    np.testing.assert_allclose(vectors, [[2.5, 1.5, 2.5]])


def test_blank_queries_alone_keep_theirs() -> None:
    vectors = vectors_of(Hyde().run(Batch(Queries.of([" "])), state(Author("aa"))), "space")
    assert vectors is not None
    assert vectors.tolist() == [[1, 1, 0]]


def test_llm_options_of_execution_do_not_count(tmp_path: Path) -> None:
    assert Hyde(llm={"device": "cpu"}, batch_size=3).meaning() == Hyde().meaning()
    assert Hyde(llm={"seed": 4}).meaning() != Hyde().meaning()
    context = Context(toy_collection(tmp_path / "c"), Store(tmp_path / "s"))
    assert Hyde.gives == ("vector",)
    assert context.collection is not None


def texts_file(folder: Path, queries: Queries) -> Path:
    path = folder / "passages.jsonl"
    rows: list[dict[str, Any]] = [
        {"id": qid, "texts": [f"{text} indeed", "Somebody likes something."]}
        for qid, text in zip(queries.qid, queries.text, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.model
def test_contract_and_dense_searches_its_vector(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    small = open_collection("irkit/limit-synthetic?n=12&queries=20&seed=7", store, base=tmp_path)
    stage = make_stage("hyde", llm={"file": str(texts_file(tmp_path, small.queries))})
    check_stage(stage, tmp_path, other_execution={"batch_size": 3})
    context, dense = Context(small, store), Dense(k=5)
    found = stage.run(Batch(small.queries), stage.prepare(context))
    assert isinstance(found, Queries)
    opened = dense.prepare(context)
    ranked = dense.run(Batch(found), opened)
    texts = [[text, f"{text} indeed", "Somebody likes something."] for text in small.queries.text]
    vectors = np.stack([opened.encoder.vectors(each, "query").astype(np.float64).mean(0) for each in texts])
    scores = vectors @ np.asarray(opened.index.vectors, np.float64).T
    np.testing.assert_allclose(ranked.score.reshape(20, 5), -np.sort(-scores)[:, :5], atol=1e-5)
