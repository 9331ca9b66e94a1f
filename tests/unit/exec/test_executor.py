"""The executor: everything computed once, kept by query, and what it cost."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from executing import MORE, graph, run
from toys import DOCS, QUERIES, Toy, overlap, toy, toy_collection

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.exec.executor import Executor
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline, Step, fuse
from irkit.pipeline.registry import make_stage, register
from irkit.store import Store

pytestmark = pytest.mark.usefixtures("toy_stages")


def shown(rankings: Rankings, collection: Collection) -> list[list[tuple[str, float]]]:
    return [list(zip(collection.docs.docnos(doc), score.tolist(), strict=True)) for doc, score in rankings]


def test_a_retriever_finds_what_the_oracle_finds(store: Store, collection: Collection) -> None:
    (found,) = run(store, collection, toy(k=3))
    expected = []
    for text in QUERIES.values():
        scores = overlap(DOCS, text)
        best = sorted(scores, key=lambda d: (scores[d], d), reverse=True)[:3]
        expected.append([(d, float(scores[d])) for d in best])
    assert shown(found, collection) == expected
    assert expected[3] == []


def test_an_empty_branch_fuses_what_stands_before(store: Store, collection: Collection) -> None:
    step = Step(
        make_stage("fuse", method="combsum", norm="none"),
        (Pipeline(()), Pipeline.of(make_stage("toy-rerank"))),
    )
    (found,) = run(store, collection, Pipeline((Step(toy()), step)))
    first, second = run(store, collection, toy(), toy() >> make_stage("toy-rerank"))
    for (doc, score), one, two in zip(found, first, second, strict=True):
        total = {d: float(s) for d, s in zip(one[0].tolist(), one[1].tolist(), strict=True)}
        for d, s in zip(two[0].tolist(), two[1].tolist(), strict=True):
            total[d] += s
        assert {d: pytest.approx(s) for d, s in total.items()} == dict(
            zip(doc.tolist(), score.tolist(), strict=True)
        )


def test_a_node_is_computed_once_for_all_pipelines(store: Store, collection: Collection) -> None:
    rerank = make_stage("toy-rerank")
    one, two, three, four = run(
        store, collection, toy() >> rerank, fuse(toy(), toy() >> rerank), toy(), toy()
    )
    assert (toys.calls("run", "toy"), toys.calls("run", "toy-rerank")) == (1, 1)
    assert (toys.calls("prepare", "toy"), toys.calls("prepare", "toy-rerank")) == (1, 1)
    assert three == four != one
    assert one != two


def test_a_second_run_prepares_and_computes_nothing(store: Store, collection: Collection) -> None:
    pipelines = [toy() >> make_stage("toy-rerank"), make_stage("toy-words") >> toy(k=2)]
    first = run(store, collection, *pipelines)
    before = toys.calls("prepare"), toys.calls("run")
    assert run(store, collection, *pipelines) == first
    assert (toys.calls("prepare"), toys.calls("run")) == before


def test_a_changed_option_computes_only_what_depends_on_it(store: Store, collection: Collection) -> None:
    run(store, collection, toy(), toy(k=2) >> make_stage("toy-rerank", bonus=1))
    assert (toys.calls("run", "toy"), toys.calls("run", "toy-rerank")) == (2, 1)
    run(store, collection, toy(), toy(k=2) >> make_stage("toy-rerank", bonus=2))
    assert (toys.calls("run", "toy"), toys.calls("run", "toy-rerank")) == (2, 2)
    run(store, collection, toy(), toy(k=3) >> make_stage("toy-rerank", bonus=2))
    assert (toys.calls("run", "toy"), toys.calls("run", "toy-rerank")) == (3, 3)


def test_an_execution_option_computes_nothing(store: Store, collection: Collection) -> None:
    first = run(store, collection, toy(threads=1), toy(threads=2))
    assert first[0] == first[1]
    assert run(store, collection, toy(threads=8)) == first[:1]
    assert toys.calls("run") == 1


def test_another_version_of_a_stage_computes_anew(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, collection, toy())
    monkeypatch.setattr(Toy, "cache_version", 2)
    run(store, collection, toy())
    assert toys.calls("run") == 2


def test_what_a_stage_identifies_itself_by_is_part_of_the_key(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in ("a", "b", "a"):
        monkeypatch.setattr(Toy, "identity", lambda self, context, revision=revision: {"revision": revision})
        run(store, collection, toy())
    assert toys.calls("run") == 2


def test_other_documents_compute_anew_and_equal_documents_do_not(store: Store, tmp_path: Path) -> None:
    run(store, toy_collection(tmp_path / "1"), toy())
    run(store, toy_collection(tmp_path / "2"), toy())
    assert toys.calls("run") == 1
    run(store, toy_collection(tmp_path / "3", {**DOCS, "d6": "c"}), toy())
    assert toys.calls("run") == 2


WHOLE: Mapping[str, Any] = {
    "retriever": toy,
    "reranker": lambda: toy() >> make_stage("toy-rerank"),
    "fusion": lambda: fuse(toy(k=2), toy() >> make_stage("toy-rerank"), method="combsum"),
    "query stage": lambda: make_stage("toy-words", add="d") >> toy(),
    "feedback": lambda: toy() >> make_stage("toy-feedback") >> make_stage("toy-words") >> toy(k=4),
    "chunks": lambda: make_stage("toy-slow"),
}


@pytest.mark.parametrize("pipeline", WHOLE.values(), ids=WHOLE)
def test_added_queries_are_computed_alone(store: Store, tmp_path: Path, pipeline: Any) -> None:
    run(store, toy_collection(tmp_path / "1"), pipeline())
    names = {node.stage.name for node in graph(pipeline()).walk()} - {"fuse", "cutoff"}
    before = {name: toys.queries_run(name) for name in names - {"toy-slow"}}
    larger = toy_collection(tmp_path / "2", queries=MORE)
    (found,) = run(store, larger, pipeline())
    for name, count in before.items():
        nodes = sum(node.stage.name == name for node in graph(pipeline()).walk())
        assert (count, toys.queries_run(name) - count) in [(5 * nodes, 3 * nodes), (0, 0)], name
    (anew,) = run(Store(tmp_path / "fresh"), larger, pipeline())
    assert found == anew


@pytest.mark.parametrize("pipeline", WHOLE.values(), ids=WHOLE)
def test_fewer_and_reordered_queries_are_not_computed(store: Store, tmp_path: Path, pipeline: Any) -> None:
    run(store, toy_collection(tmp_path / "1", queries=MORE), pipeline())
    before = toys.calls("run"), toys.calls("prepare")
    fewer = toy_collection(tmp_path / "2", queries={key: MORE[key] for key in ("q5", "n1", "q1")})
    (found,) = run(store, fewer, pipeline())
    assert (toys.calls("run"), toys.calls("prepare")) == before
    assert [found] == run(Store(tmp_path / "fresh"), fewer, pipeline())


def test_queries_of_the_same_text_have_the_same_results(store: Store, tmp_path: Path) -> None:
    double = toy_collection(tmp_path / "1", queries={"x": "a b", "y": "c", "z": "a b"})
    (found,) = run(store, double, toy())
    assert found.take([0]) == found.take([2]) != found.take([1])
    more = toy_collection(tmp_path / "2", queries={"x": "a b", "w": "a b", "y": "c", "z": "a b", "n": "e"})
    (again,) = run(store, more, toy())
    assert [again] == run(Store(tmp_path / "fresh"), more, toy())
    assert toys.queries_run("toy") == 3 + 1 + 5


def test_inputs_are_not_computed_where_every_query_is_stored(
    store: Store, collection: Collection, tmp_path: Path
) -> None:
    end = graph(toy() >> make_stage("toy-rerank"))
    run(store, collection, toy() >> make_stage("toy-rerank"))
    for artifact in store.artifacts():
        if artifact.recipe["stage"] == toy().name:
            store.remove(artifact.path)
    fewer = toy_collection(tmp_path / "fewer", queries=dict(list(QUERIES.items())[:3]))
    executor = Executor(Context(fewer, store), [end])
    executor.rankings(end)
    assert [node.stage.name for node, _ in executor.traces()] == ["toy-rerank"]


def test_exclusions_are_respected_and_are_part_of_the_key(store: Store, tmp_path: Path) -> None:
    plain = toy_collection(tmp_path / "1")
    excluding = toy_collection(tmp_path / "2", exclude={"q1": ["d1", "d2"], "q5": ["d3"]})
    (all_hits,) = run(store, plain, toy(k=3))
    found, reranked = run(store, excluding, toy(k=3), toy(k=3) >> make_stage("toy-rerank"))
    assert toys.queries_run("toy") == 5 + 2  # the three queries that exclude nothing are known
    assert [docno for docno, _ in shown(found, excluding)[0]] == ["d5", "d3"]
    for row, codes in enumerate(excluding.queries.exclude):
        assert not np.isin(found[row][0], codes).any()
        assert not np.isin(reranked[row][0], codes).any()
        if not len(codes):
            assert found.take([row]) == all_hits.take([row])
    assert len(found[4][0]) == 3, "the cutoff comes after the exclusion"


def test_no_queries_at_all(store: Store, tmp_path: Path) -> None:
    nothing = toy_collection(tmp_path / "1", queries={})
    for pipeline in WHOLE.values():
        for _ in range(2):
            assert run(store, nothing, pipeline()) == [Rankings.empty(0)]


def test_columns_of_query_stages_survive_the_store(store: Store, tmp_path: Path) -> None:
    seen: list[Queries] = []

    class Probe(Toy):
        def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
            seen.append(queries)
            return super().search(queries, depth, state)

    register("toy-probe")(Probe)
    words = make_stage("toy-words")
    run(store, toy_collection(tmp_path / "1"), words >> make_stage("toy-probe"))
    run(store, toy_collection(tmp_path / "2", queries=MORE), words >> make_stage("toy-probe", k=7))
    assert seen[1].qid == tuple(MORE)
    for queries, texts in ((seen[0], QUERIES), (seen[1], MORE)):
        assert queries.text == tuple(f"{text} b" for text in texts.values())
        assert queries.columns["length"].tolist() == [len(text) for text in texts.values()]
        assert queries.columns["length"].dtype == np.int32
        assert list(queries.columns["words"]) == [text.split() for text in texts.values()]


# Traces


def test_traces_say_what_was_computed_and_what_was_there(store: Store, tmp_path: Path) -> None:
    end = graph(toy() >> make_stage("toy-rerank"))
    for queries, stored in ((QUERIES, 0), (MORE, 5), (MORE, 8)):
        executor = Executor(Context(toy_collection(tmp_path / "c", queries=queries), store), [end])
        executor.rankings(end)
        traces = dict(executor.traces())
        assert [trace.queries for trace in traces.values()] == [len(queries)] * 2
        assert [trace.stored for trace in traces.values()] == [stored] * 2
        assert {trace.cost.computed for trace in traces.values()} == {5 if stored == 0 else 3}
        assert all(trace.cost.seconds > 0 for trace in traces.values())


def test_the_size_of_an_index_is_traced(store: Store, collection: Collection) -> None:
    end = graph(make_stage("toy-indexed"))
    executor = Executor(Context(collection, store), [end])
    executor.rankings(end)
    ((_, trace),) = executor.traces()
    assert trace.artifact_bytes == sum(len(text) for text in DOCS.values()) + len(DOCS) - 1


def test_what_is_only_built_on_the_way_is_not_counted(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage("toy-indexed")
    monkeypatch.setattr(type(stage), "opens", lambda self, context: [])
    executor = Executor(Context(collection, store), [graph(stage)])
    executor.rankings(graph(stage))
    ((_, trace),) = executor.traces()
    assert trace.artifact_bytes == 0


# States: models in memory


class State:
    """Something large."""


def test_a_state_is_released_when_no_node_needs_it_any_more(store: Store, collection: Collection) -> None:
    alive: list[weakref.ref[State]] = []
    seen: list[int] = []

    class Holding(Toy):
        def prepare(self, context: Context) -> Any:
            state = State()
            alive.append(weakref.ref(state))
            return state

        def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
            gc.collect()
            seen.append(sum(ref() is not None for ref in alive))
            return Rankings.empty(len(queries))

    register("toy-holding")(Holding)
    words = make_stage("toy-words")
    holding = [make_stage("toy-holding", k=k) for k in (1, 2)]
    run(store, collection, holding[0], words >> holding[0], holding[1])
    assert len(alive) == 2, "a stage that stands in two places is prepared once"
    assert seen == [1, 1, 1], "the first is gone before the second comes"
    gc.collect()
    assert [ref() for ref in alive] == [None, None]
