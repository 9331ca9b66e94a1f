"""What query stages did to a query: read off the queries before and after each of them."""

from __future__ import annotations

from pathlib import Path

import changing
import pytest
import toys
from executing import graph
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.queries import Queries
from irkit.data.collection import Collection
from irkit.exec.changes import Step, Term, changes, cut_terms, marked, query_nodes, stored_changes
from irkit.exec.executor import Executor
from irkit.exec.search import Searcher
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node, fuse
from irkit.pipeline.registry import make_stage
from irkit.stages.forms import with_terms
from irkit.store import Store


@pytest.fixture(autouse=True)
def stages(toy_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changing.register_changing()
    monkeypatch.setattr(changing.CUT, changing.cut)


def pipeline(**options: object) -> Node:
    return graph(
        make_stage("toy-rewrite") >> make_stage("toy-expand", **options) >> make_stage("toy-taker", k=5)
    )


def explained(store: Store, collection: Collection, end: Node, *texts: str) -> list[list[Step]]:
    return Searcher(Context(collection, store), end).explained(Queries.of(texts), 2).changes


def test_each_step_tells_what_it_did(store: Store, collection: Collection) -> None:
    ((rewritten, expanded),) = explained(store, collection, pipeline(add="c"), "a")
    assert rewritten == Step("toy-rewrite", "a", "a b", told=("written anew",))
    terms = (Term("c", 2.0, False), Term("a", 1.0, True), Term("b", 1.0, False))  # b is the rewriter's
    assert expanded == Step("toy-expand (add=c)", "a b", "a b", terms, ("added c",))
    assert rewritten.changed
    assert expanded.changed


def test_a_query_that_is_left_alone(store: Store, collection: Collection) -> None:
    end = graph(make_stage("toy-expand", only="d") >> make_stage("toy-taker", k=5))
    (changed,), (kept,) = explained(store, collection, end, "d", "a")
    assert kept == Step("toy-expand (only=d)", "a", "a")
    assert not kept.changed
    assert changed.changed


def test_terms_that_a_stage_passes_on_are_not_its_own(store: Store, collection: Collection) -> None:
    end = graph(make_stage("toy-expand") >> make_stage("toy-embed") >> make_stage("toy-taker", k=5))
    ((expanded, embedded),) = explained(store, collection, end, "a")
    assert expanded.forms == ()
    assert embedded == Step("toy-embed", "a", "a", forms=("vector",))
    assert embedded.changed


def test_a_vector_that_a_stage_passes_on_is_not_its_own(store: Store, collection: Collection) -> None:
    end = graph(make_stage("toy-embed") >> make_stage("toy-expand") >> make_stage("toy-taker", k=5))
    ((embedded, expanded),) = explained(store, collection, end, "a")
    assert embedded.forms == ("vector",)
    assert expanded.forms == ()
    assert expanded.terms


def test_the_strongest_terms_come_first_whatever_their_sign() -> None:
    node = graph(make_stage("toy-expand") >> make_stage("toy-taker", k=5)).queries
    assert node is not None
    source = Queries.of(["b a"])
    after = with_terms(source, "porter", [{"b": 0.5, "z": 0.25, "x": -2.0, "a": 0.5}])
    ((step,),) = changes(source, {node: after}, changing.cut)
    assert [(each.text, each.original) for each in step.terms] == [
        ("x", False),
        ("a", True),
        ("b", True),
        ("z", False),
    ]
    unknown = with_terms(source, "a plug-in's", [{"b": 0.5}])
    ((step,),) = changes(source, {node: unknown}, changing.cut)
    assert step.terms == (Term("b", 0.5, None),)  # nobody knows how it is cut


def test_branches_of_a_fusion_each_tell(store: Store, collection: Collection) -> None:
    one = make_stage("toy-expand", add="c") >> make_stage("toy-taker", k=5)
    two = make_stage("toy-expand", add="d") >> make_stage("toy-taker", k=5)
    end = graph(fuse(one, two))
    assert len(query_nodes(end)) == 2
    ((first, second),) = explained(store, collection, end, "a")
    assert (first.told, second.told) == (("added c",), ("added d",))


def test_the_last_stage_explains_itself_too(store: Store, collection: Collection) -> None:
    end = graph(make_stage("toy-words", add="e") >> toys.toy(k=5) >> make_stage("toy-look"))
    seen = Searcher(Context(collection, store), end).explained(Queries.of(["c"]), 2)
    assert [step.text for step in seen.changes[0]] == ["c e"]
    assert len(seen.documents[0]) == 2
    end = graph(make_stage("toy-words", add="e") >> toys.toy(k=5))
    seen = Searcher(Context(collection, store), end).explained(Queries.of(["c"]), 2)
    assert (seen.documents, len(seen.changes[0])) == ([[]], 1)


def test_changes_are_read_from_the_store(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(analyzer: str, texts: list[str]) -> list[list[str]]:
        calls.append(texts)
        return changing.cut(analyzer, texts)

    monkeypatch.setattr(changing.CUT, counted)
    expected = explained(store, collection, pipeline(), *(collection.queries.text[row] for row in (3, 1)))
    calls.clear()
    for _ in range(2):
        end = pipeline()
        executor = Executor(Context(collection, store), [end])
        executor.artifact(end)
        assert stored_changes(end, [3, 1], executor) == expected
    assert len(calls) == 1  # the second run starts no Java
    with pytest.raises(TypeError, match="produces rankings, not queries"):
        executor.queries(end)
    for node in query_nodes(end):
        assert executor.queries(node).qid == collection.queries.qid


WORDS = st.lists(st.sampled_from("abc"), max_size=8).map(" ".join)


@given(WORDS, WORDS)
def test_marked_words_are_the_text(before: str, after: str) -> None:
    found = marked(before, after)
    assert "".join(words for words, _ in found) == after
    assert [new for _, new in marked(after, after)] == ([False] if after else [])
    kept = iter(before.split())
    assert all(word in kept for words, new in found if not new for word in words.split())  # in their order


def test_new_words_are_marked() -> None:
    assert marked("green tea", "does green tea help") == [
        ("does ", True),
        ("green tea ", False),
        ("help", True),
    ]
    assert marked("tea", "coffee") == [("coffee", True)]


@pytest.mark.java
def test_the_analyser_tells_a_querys_own_terms(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing.CUT, cut_terms)
    node = graph(make_stage("toy-expand") >> make_stage("toy-taker", k=5)).queries
    assert node is not None
    source = Queries.of(["The Studies", "of <b>running"])
    after = with_terms(source, "porter", [{"studi": 1.0, "the": 0.5}, {"run": 1.0, "b": 0.5, "studi": 0.25}])
    (first,), (second,) = changes(source, {node: after})
    assert [each.original for each in first.terms] == [True, False]  # "the" is a stop word
    assert [each.original for each in second.terms] == [True, True, False]
