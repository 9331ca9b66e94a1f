"""The plan: what a run would compute, and why, without loading a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys
from executing import run
from toys import DOCS, QUERIES, toy, toy_collection

from irkit.data.collection import Collection
from irkit.exec.executor import Executor
from irkit.exec.explanations import TOP, Asked
from irkit.exec.plan import NodePlan, plan
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Stage
from irkit.store import Recipe, Store

pytestmark = pytest.mark.usefixtures("toy_stages")


def planned(store: Store, collection: Collection, **pipelines: Pipeline | Stage) -> dict[str, NodePlan]:
    ends = {name: Pipeline.of(pipeline).graph() for name, pipeline in pipelines.items()}
    nodes = plan(Context(collection, store), ends)
    assert len({each.label for each in nodes}) == len(nodes)
    return {each.label: each for each in nodes}


def test_nothing_was_ever_computed(store: Store, collection: Collection) -> None:
    found = planned(store, collection, a=toy(k=3), b=toy(k=3) >> make_stage("toy-rerank"))
    assert list(found) == ["toy (k=3)", "toy-rerank"]
    assert found["toy (k=3)"].pipelines == ("a", "b")
    assert found["toy-rerank"].pipelines == ("b",)
    assert {each.status for each in found.values()} == {"compute"}
    assert {each.queries for each in found.values()} == {len(QUERIES)}
    assert {each.reason for each in found.values()} == {"never computed here"}
    assert list(store.artifacts()) == []


def test_stored_and_not_needed(store: Store, collection: Collection) -> None:
    run(store, collection, toy() >> make_stage("toy-rerank"))
    found = planned(store, collection, b=toy() >> make_stage("toy-rerank"))
    assert {each.status for each in found.values()} == {"stored"}
    for artifact in list(store.artifacts()):
        if artifact.recipe["stage"] == "toy":
            store.remove(artifact.path)
    found = planned(store, collection, b=toy() >> make_stage("toy-rerank"))
    assert {label: each.status for label, each in found.items()} == {
        "toy": "not needed",
        "toy-rerank": "stored",
    }
    assert [each.reason for each in found.values()] == ["", ""]


def test_the_reason_is_what_differs_from_the_most_similar(store: Store, collection: Collection) -> None:
    run(store, collection, toy(k=3) >> make_stage("toy-rerank"))
    found = planned(store, collection, b=toy(k=4) >> make_stage("toy-rerank", bonus=0.5))
    assert found["toy (k=4)"].reason == "k: 3 -> 4"
    assert found["toy-rerank (bonus=0.5)"].reason == "bonus: 0.0 -> 0.5; its input changed"
    found = planned(store, collection, b=make_stage("toy-words") >> toy(k=3))
    assert found["toy (k=3)"].reason == "the queries it sees changed"


def test_the_documents_changed(store: Store, tmp_path: Path) -> None:
    run(store, toy_collection(tmp_path / "1"), toy())
    other = toy_collection(tmp_path / "2", {**DOCS, "d7": "x"})
    assert planned(store, other, a=toy())["toy"].reason == "the documents changed"


def test_an_execution_option_is_no_reason(store: Store, collection: Collection) -> None:
    run(store, collection, toy())
    assert [each.status for each in planned(store, collection, a=toy(threads=4)).values()] == ["stored"]


def test_new_queries_are_counted(store: Store, tmp_path: Path) -> None:
    run(store, toy_collection(tmp_path / "1"), toy())
    more = toy_collection(tmp_path / "2", queries={**QUERIES, "n1": "a", "n2": "b"})
    (node,) = planned(store, more, a=toy()).values()
    assert (node.status, node.queries, node.reason) == ("partly", 2, "2 new queries")
    run(store, more, toy())
    assert [each.status for each in planned(store, more, a=toy()).values()] == ["stored"]


def test_fewer_queries_are_stored(store: Store, tmp_path: Path) -> None:
    run(store, toy_collection(tmp_path / "1"), toy())
    fewer = toy_collection(tmp_path / "2", queries={"q2": QUERIES["q2"]})
    (node,) = planned(store, fewer, a=toy()).values()
    assert (node.status, node.queries, node.reason) == ("stored", 0, "")


def test_other_queries_altogether(store: Store, tmp_path: Path) -> None:
    run(store, toy_collection(tmp_path / "1"), toy())
    other = toy_collection(tmp_path / "2", queries={"x": "b c"})
    (node,) = planned(store, other, a=toy()).values()
    assert (node.status, node.queries, node.reason) == ("compute", 1, "other queries")


def test_an_index_is_announced_once_and_only_when_it_is_missing(store: Store, collection: Collection) -> None:
    pipelines = {"a": make_stage("toy-indexed", k=1), "b": make_stage("toy-indexed", k=2)}
    found = planned(store, collection, **pipelines)
    assert [each.builds for each in found.values()] == [("toy-index",), ()]
    run(store, collection, pipelines["a"])
    found = planned(store, collection, **pipelines)
    assert [(each.status, each.builds) for each in found.values()] == [("stored", ()), ("compute", ())]


def test_no_model_is_loaded(store: Store, collection: Collection) -> None:
    found = planned(store, collection, a=make_stage("toy-heavy") >> make_stage("toy-rerank"))
    assert [each.status for each in found.values()] == ["compute", "compute"]
    with pytest.raises(AssertionError, match="the model was loaded"):
        run(store, collection, make_stage("toy-heavy"))


def test_the_plan_says_what_the_run_does(store: Store, tmp_path: Path) -> None:
    """Whatever is stored: the queries that are planned are the queries that are then computed."""
    import toys

    first, more = (
        toy_collection(tmp_path / "1"),
        toy_collection(tmp_path / "2", queries={**QUERIES, "n": "c"}),
    )
    pipelines = {"a": toy(k=5) >> make_stage("toy-rerank"), "b": toy(k=5) + toy(k=6)}
    for collection in (first, more, more):
        before = {name: toys.queries_run(name) for name in ("toy", "toy-rerank")}
        found = planned(store, collection, **pipelines)
        promised = {
            name: sum(p.queries for p in found.values() if p.node.stage.name == name) for name in before
        }
        run(store, collection, *pipelines.values())
        assert {name: toys.queries_run(name) - before[name] for name in before} == promised


def test_an_artifact_made_otherwise_is_a_reason_where_there_is_no_other(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed = make_stage("toy-indexed", k=1)
    run(store, collection, indexed)
    artifacts = type(indexed).artifacts
    monkeypatch.setattr(
        type(indexed),
        "artifacts",
        lambda self, context: [
            Recipe("toy-index", {**each.spec, "made": 2}) for each in artifacts(self, context)
        ],
    )
    (node,) = planned(store, collection, a=indexed).values()
    assert (node.status, node.reason) == ("compute", "what it reads is now made otherwise")
    (node,) = planned(store, collection, a=make_stage("toy-indexed", k=2)).values()
    assert node.reason == "k: 1 -> 2"


def test_explanations_that_are_asked_for_are_planned(store: Store, collection: Collection) -> None:
    pipeline = toy(k=5) >> make_stage("toy-look", explanations=2)
    found = planned(store, collection, a=pipeline)
    assert found["toy (k=5)"].explains is None
    (label,) = set(found) - {"toy (k=5)"}
    assert found[label].explains == Asked(queries=2, documents=2 * TOP, stored=False)
    executor = Executor(Context(collection, store), [node := pipeline.graph()])
    executor.artifact(node)
    kept = planned(store, collection, a=pipeline)[label]
    assert (kept.status, kept.explains) == ("stored", Asked(2, 2 * TOP, stored=True))
    more = planned(store, collection, a=toy(k=5) >> make_stage("toy-look", explanations=99))
    assert [each.explains for each in more.values()][1] == Asked(len(QUERIES), len(QUERIES) * TOP, False)
    assert toys.calls("explain") == 2
