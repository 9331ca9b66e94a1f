"""Explanations of a stage, kept beside its results."""

from __future__ import annotations

import pytest
import toys
from executing import graph
from toys import toy

from irkit.core.errors import StageError
from irkit.core.queries import Queries
from irkit.data.collection import Collection
from irkit.exec.executor import Executor
from irkit.exec.explanations import asked, explanations
from irkit.exec.search import Searcher
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.registry import make_stage
from irkit.store import Store

pytestmark = pytest.mark.usefixtures("toy_stages")


def look(**options: object) -> Node:
    return graph(toy(k=5) >> make_stage("toy-look", **options))


def test_the_first_queries_best_documents(store: Store, collection: Collection) -> None:
    node = look(explanations=2)
    executor = Executor(Context(collection, store), [node])
    found = explanations(executor, node)
    rankings = executor.rankings(node)
    assert [[each.doc for each in of_query] for of_query in found] == [
        rankings[row][0][:3].tolist() for row in range(2)
    ]
    assert [[each.score for each in of_query] for of_query in found] == [
        rankings[row][1][:3].tolist() for row in range(2)
    ]
    best = found[1][0]  # of "c d"
    assert "".join(best.pieces) == collection.docs.text(best.doc)
    assert sum(best.weights) == best.score


def test_they_are_computed_once_and_with_the_results(store: Store, collection: Collection) -> None:
    for _ in range(2):
        node = look(explanations=2)
        executor = Executor(Context(collection, store), [node])
        executor.artifact(node)
        assert len(explanations(executor, node)) == 2
    assert (toys.calls("explain"), toys.calls("prepare", "toy-look"), toys.calls("run", "toy-look")) == (
        2,
        1,
        1,
    )


def test_asking_later_computes_no_result_again(store: Store, collection: Collection) -> None:
    before = look()
    Executor(Context(collection, store), [before]).artifact(before)
    for wanted, calls in ((3, 3), (99, 3 + 5)):
        node = look(explanations=wanted)
        executor = Executor(Context(collection, store), [node])
        executor.artifact(node)
        assert len(explanations(executor, node)) == min(wanted, 5)
        assert toys.calls("explain") == calls
    assert toys.calls("run", "toy-look") == 1


def test_asking_later_leaves_no_model_loaded(store: Store, collection: Collection) -> None:
    before = look()
    Executor(Context(collection, store), [before]).artifact(before)
    node = look(explanations=1)
    executor = Executor(Context(collection, store), [node])
    for times in (1, 2):
        executor.explain(node, [0, 1], 2)
        assert not executor._states
        assert toys.calls("prepare", "toy-look") == 1 + times


def test_nothing_is_explained_unasked(store: Store, collection: Collection) -> None:
    for node in (look(), graph(toy())):
        executor = Executor(Context(collection, store), [node])
        assert asked(node) == 0
        assert explanations(executor, node) == []
    assert toys.calls("explain") == 0
    with pytest.raises(TypeError, match="does not explain"):
        executor.explain(node, [0], 1)


def test_a_query_stages_queries_are_explained(store: Store, collection: Collection) -> None:
    node = graph(make_stage("toy-words", add="e") >> toy() >> make_stage("toy-look", explanations=1))
    executor = Executor(Context(collection, store), [node])
    (found,) = explanations(executor, node)
    seen = {
        piece.strip()
        for each in found
        for piece, weight in zip(each.pieces, each.weights, strict=True)
        if weight
    }
    assert seen == {"a", "b", "e"}


def test_weights_are_numbers(store: Store, collection: Collection) -> None:
    node = look(explanations=1, bad=True)
    executor = Executor(Context(collection, store), [node])
    with pytest.raises(StageError, match="not a finite number"):
        explanations(executor, node)


def test_a_search_explains_its_last_stage(store: Store, collection: Collection) -> None:
    searcher = Searcher(Context(collection, store), look())
    seen = searcher.explained(Queries.of(["c d", "zzz"]), 2)
    found, nothing = seen.documents
    assert [each.doc for each in found] == seen.rankings[0][0][:2].tolist()
    assert (nothing, seen.changes) == ([], [[], []])
    with pytest.raises(TypeError, match="does not explain"):
        Searcher(Context(collection, store), graph(toy())).explained(Queries.of(["c"]), 1)
