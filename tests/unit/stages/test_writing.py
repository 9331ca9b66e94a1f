"""Where texts come from: files by the ids of queries, one budget for a run, and what decides a result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapting import adapt, describe
from misbehaving import Endpoint, endpoint
from pydantic import ValidationError
from tiny_lm import tiny_lm
from toys import toy_collection

from irkit.api import Workspace, run
from irkit.config.experiment import Experiment
from irkit.core.errors import DataError, ModelError
from irkit.core.queries import Queries
from irkit.data.collection import Collection
from irkit.exec.executor import Executor
from irkit.models import resolve
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch, Stage
from irkit.stages.query.hyde import Hyde
from irkit.stages.query.prompt_prf import PromptPrf
from irkit.stages.query.reformulate import Reformulate
from irkit.stages.writing import WriterOptions
from irkit.store import Store


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    for name, stage in {"reformulate": Reformulate, "hyde": Hyde}.items():
        if name not in registry.stage_names():
            registry.register(name, stage)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return toy_collection(tmp_path / "collection")


def file(folder: Path, **texts: str | list[str]) -> Path:
    path = folder / "texts.json"
    path.write_text(json.dumps(texts))
    return path


def asked(collection: Collection, texts: Mapping[str, str]) -> Collection:
    return replace(collection, queries=Queries(tuple(texts), tuple(texts.values())))


# -- files ----------------------------------------------------------------------------------------------------------------------


def written(collection: Collection, folder: Path, **texts: str) -> dict[str, str]:
    """Return the texts of queries by id, through a store that keeps them."""
    context = Context(asked(collection, texts), Store(folder / "store"), workspace=folder)
    stage = make_stage("reformulate", method="replace", llm={"file": "texts.json"})
    node = (Pipeline.of(stage) >> make_stage("bm25", k=3)).graph()
    assert node.queries is not None
    found = Executor(context, [node]).queries(node.queries)
    return dict(zip(found.qid, found.text, strict=True))


def test_ids_that_change_places_take_their_texts_with_them(collection: Collection, tmp_path: Path) -> None:
    file(tmp_path, one="text of one", two="text of two")
    said = {"one": "text of one", "two": "text of two"}
    assert written(collection, tmp_path, one="lift", two="drag") == said
    assert written(collection, tmp_path, one="drag", two="lift") == said


@pytest.mark.parametrize("kind", ["reformulate", "hyde"])
def test_which_id_a_text_has_is_part_of_the_identity(
    collection: Collection, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hyde, "encoder_identity", lambda *_: {})
    path = str(file(tmp_path, one="1", two="2"))

    def identity(by: str, **texts: str) -> Any:
        stage = make_stage(kind, llm={"file": path, "by": by})
        return stage.identity(Context(asked(collection, texts), Store(tmp_path / "s")))

    assert identity("id", one="lift", two="drag") != identity("id", one="drag", two="lift")
    assert identity("id", one="lift", two="drag") == identity("id", two="drag", one="lift")
    assert identity("text", one="lift", two="drag") == identity("text", one="drag", two="lift")


def test_queries_of_one_text_need_the_same_texts(collection: Collection, tmp_path: Path) -> None:
    twins = asked(collection, {"a": "lift", "b": "drag", "c": "lift"})
    context = Context(twins, Store(tmp_path / "s"), workspace=tmp_path)
    stage = Reformulate(method="replace", llm={"file": "texts.json"})
    file(tmp_path, a="one", b="two", c=["one", " "])
    found = stage.run(Batch(twins.queries), stage.prepare(context))
    assert isinstance(found, Queries)
    assert found.text == ("one", "two", "one")
    file(tmp_path, a="one", b="two", c="three")
    with pytest.raises(DataError, match="'a' and 'c' are queries of the same text"):
        stage.prepare(context)
    file(tmp_path, a="one", b="two")
    with pytest.raises(DataError, match="no text for 'c'"):
        stage.prepare(context)


def test_a_file_in_the_home_folder(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file(tmp_path, a="one")
    stage = Reformulate(method="replace", llm={"file": "~/texts.json"})
    context = Context(asked(collection, {"a": "lift"}), Store(tmp_path / "s"), workspace=tmp_path / "else")
    assert stage.faults(tmp_path / "else") == []
    assert stage.identity(context)
    found = stage.run(Batch(context.collection.queries), stage.prepare(context))
    assert isinstance(found, Queries)
    assert found.text == ("one",)


def test_half_an_emoji_of_a_file_reaches_no_encoder(collection: Collection, tmp_path: Path) -> None:
    file(tmp_path, a="wing \ud83d")
    assert written(collection, tmp_path, a="lift") == {"a": "wing \ufffd"}


# -- options --------------------------------------------------------------------------------------------------------------------


def test_by_and_field_decide_what_a_file_says() -> None:
    plain = WriterOptions(file="t.json").meaning()
    assert WriterOptions(file="t.json", field="reasoning").meaning() != plain
    assert WriterOptions(file="t.json", by="text").meaning() != plain
    assert WriterOptions(file="u.json", temperature=0.3).meaning() == plain


def test_features_of_documents_do_not_go_by_text() -> None:
    with pytest.raises(ValidationError, match="go by their ids"):
        PromptPrf(llm={"file": "t.json", "by": "text"})


def test_the_separator_is_the_encoder_s(collection: Collection, tmp_path: Path) -> None:
    file(tmp_path, a="one")

    def text(**options: Any) -> str:
        stage = Reformulate(method="query2doc", llm={"file": "texts.json"}, **options)
        context = Context(asked(collection, {"a": "lift"}), Store(tmp_path / "s"), workspace=tmp_path)
        found = stage.run(Batch(context.collection.queries), stage.prepare(context))
        assert isinstance(found, Queries)
        return found.text[0]

    assert text(target="dense") == "lift [SEP] one"
    assert text(target="dense", separator="</s>") == "lift </s> one"
    for options in ({}, {"method": "mugi", "target": "dense"}):
        with pytest.raises(ValidationError, match="separator is for query2doc"):
            Reformulate(separator="</s>", **options)
    Reformulate(**Reformulate().model_dump())


def test_query2doc_without_examples_says_that_the_paper_has_some(
    collection: Collection, tmp_path: Path
) -> None:
    def notes(**options: Any) -> dict[str, Any]:
        context = Context(collection, Store(tmp_path / "s"))
        Reformulate(llm={"url": "http://127.0.0.1:9/v1", "model": "m"}, **options).prepare(context)
        return context.notes

    assert "four examples" in notes()["query2doc"]
    assert "query2doc" not in notes(examples=[["q", "p"]])
    assert "query2doc" not in notes(method="cot")


def test_hyde_names_its_space_as_the_other_stages_do() -> None:
    from irkit.stages.query.vectors import VectorOptions

    assert issubclass(Hyde, VectorOptions)
    assert "similarity" not in Hyde.__annotations__


# -- a model on this machine ----------------------------------------------------------------------------------------------------


def test_what_a_trained_model_was_trained_for_is_noted(
    make_context: Callable[..., Context], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base = tiny_lm(tmp_path / "lm", layers=2)
    adapt(tmp_path / "adapter", AutoModelForCausalLM.from_pretrained(base), str(base))

    def notes(model: Path) -> dict[str, Any]:
        context = make_context(["wing lift"])
        llm = {"model": str(model), "dtype": "float32", "max_tokens": 2}
        stage = make_stage("reformulate", method="cot", llm=llm)
        stage.run(Batch(Queries.of([f"lift of {model.name}"])), stage.prepare(context))
        return context.notes

    assert not {"base", "trained_for"} & notes(base).keys()
    assert notes(tmp_path / "adapter")["base"] == str(base)
    assert "trained_for" not in notes(tmp_path / "adapter")
    describe(tmp_path / "adapter", "blockrank", (str(base), resolve(str(base)).fingerprint))
    assert notes(tmp_path / "adapter")["trained_for"].startswith(
        "blockrank: this stage gives the model prompts"
    )


# -- one budget for a run -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as made:
        yield made


def cot(served: Endpoint, **options: Any) -> Stage:
    llm = {"url": served.url, "model": "m", "retries": 0, **options}
    return make_stage("reformulate", method="cot", llm=llm)


def test_stages_that_share_a_run_share_a_budget(
    served: Endpoint, collection: Collection, tmp_path: Path
) -> None:
    shared: dict[Any, Any] = {}

    def go(text: str, **options: Any) -> None:
        stage = cot(served, **options)
        context = Context(collection, Store(tmp_path / "s"), shared=shared)
        stage.run(Batch(Queries.of([text])), stage.prepare(context))

    go("a", budget_requests=2)
    go("b", budget_requests=2, max_tokens=5)
    with pytest.raises(ModelError, match="budget of 2 requests"):
        go("c", budget_requests=2)
    go("c", budget_requests=3)
    go("d", budget_requests=2, model="another")
    shared = {}
    go("e", budget_requests=2)
    assert len(served.requests) == 5


def test_a_budget_is_one_over_branches_and_collections_of_a_run(served: Endpoint, tmp_path: Path) -> None:
    branches = [
        Pipeline.of(cot(served, budget_requests=10, max_tokens=n)) >> make_stage("bm25", k=2) for n in (1, 2)
    ]
    experiment = Experiment.of(
        name="budgets",
        collections=[f"irkit/limit-synthetic?n=4&queries=3&docs=5&seed={seed}" for seed in (1, 2)],
        metrics=["ndcg@10"],
        pipelines={f"p{place}": branch for place, branch in enumerate(branches)},
    )
    workspace = Workspace(tmp_path, tmp_path / "store")
    with pytest.raises(ModelError, match="budget of 10 requests"):
        run(experiment, workspace)
    assert len(served.requests) == 10
    run(experiment, workspace)
    assert len(served.requests) == 12
