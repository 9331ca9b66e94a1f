"""Relevant documents counted along a pipeline: against a slow reference, and on graphs drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.rankings import CodeArray, Rankings, offsets_of
from irkit.data.collection import Qrels
from irkit.evaluate.funnel import Relevant, Survival, Way, ranks_after, survival
from irkit.pipeline.graph import Node, fuse
from irkit.pipeline.registry import make_stage

Lists = list[list[int]]
"""For each query its documents, best first."""


def _rankings(lists: Sequence[Sequence[int]]) -> Rankings:
    return Rankings.from_lists(
        [np.array(row, np.int32) for row in lists], [-np.arange(len(row), dtype=np.float32) for row in lists]
    )


def _qrels(judged: Sequence[dict[int, int]]) -> Qrels:
    rows = [sorted(row.items()) for row in judged]
    flat = [pair for row in rows for pair in row]
    return Qrels(
        offsets_of([len(row) for row in rows]),
        np.array([doc for doc, _ in flat], np.int32),
        np.array([gain for _, gain in flat], np.int32),
    )


def _codes(rows: Sequence[Sequence[int]]) -> tuple[CodeArray, ...]:
    return tuple(np.array(sorted(row), np.int32) for row in rows)


_N = 8
_documents = st.integers(0, _N - 1)
_ranked = st.lists(_documents, unique=True, max_size=_N)


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[dict[int, int]], Lists, list[Lists], list[tuple[int, ...]]]:
    """Judgements (of documents that the collection lacks too), exclusions, rankings of steps, and what each step works on."""
    queries, steps = draw(st.integers(0, 4)), draw(st.integers(1, 4))

    def of_queries(one: st.SearchStrategy[list[int]]) -> st.SearchStrategy[Lists]:
        return st.lists(one, min_size=queries, max_size=queries)

    judged = draw(
        st.lists(st.dictionaries(st.integers(0, _N), st.integers(-1, 3)), min_size=queries, max_size=queries)
    )
    excluded = draw(st.one_of(st.just([]), of_queries(st.lists(_documents, unique=True, max_size=2))))
    rankings = [draw(of_queries(_ranked)) for _ in range(steps)]
    inputs = [
        tuple(draw(st.lists(st.integers(0, step - 1), unique=True, max_size=step))) if step else ()
        for step in range(steps)
    ]
    return judged, excluded, rankings, inputs


@settings(max_examples=300, deadline=None)
@given(world=_worlds(), level=st.integers(1, 3), k=st.integers(1, 4))
def test_it_counts_as_a_dictionary_does(
    world: tuple[list[dict[int, int]], Lists, list[Lists], list[tuple[int, ...]]], level: int, k: int
) -> None:
    judged, excluded, steps, inputs = world
    banned = [set(row) for row in excluded] or [set[int]() for _ in judged]
    pairs = [
        (query, doc)
        for query, row in enumerate(judged)
        for doc, gain in sorted(row.items())
        if gain >= level and doc not in banned[query]
    ]
    places: list[dict[tuple[int, int], int]] = []
    for lists in steps:
        place = {}
        for query, row in enumerate(lists):
            for rank, doc in enumerate([doc for doc in row if doc not in banned[query]], start=1):
                place[query, doc] = rank
        places.append(place)

    relevant = Relevant.of(_qrels(judged), exclude=_codes(excluded), level=level)
    ranks = ranks_after(map(_rankings, steps), relevant, _codes(excluded))
    missed, counts = survival(ranks, inputs, k)

    assert list(zip(relevant.query.tolist(), relevant.doc.tolist(), strict=True)) == pairs
    assert relevant.gain.tolist() == [judged[query][doc] for query, doc in pairs]
    assert relevant.outside(_N).tolist() == [doc == _N for _, doc in pairs]  # documents are numbered from 0
    assert relevant.queries == len({query for query, _ in pairs})
    assert ranks.dtype == np.int32
    assert ranks.tolist() == [[place.get(pair, 0) for place in places] for pair in pairs]
    assert missed == sum(all(pair not in place for place in places) for pair in pairs)
    assert counts == [
        Survival(
            relevant=sum(pair in place for pair in pairs),
            top=sum(place.get(pair, k + 1) <= k for pair in pairs),
            lost=sum(
                pair not in place and any(pair in places[number] for number in before) for pair in pairs
            ),
        )
        for place, before in zip(places, inputs, strict=True)
    ]


@settings(max_examples=100, deadline=None)
@given(
    start=st.lists(_ranked, min_size=3, max_size=3),
    cuts=st.lists(st.integers(0, _N), max_size=3),
    judged=st.lists(st.dictionaries(_documents, st.integers(0, 1)), min_size=3, max_size=3),
)
def test_without_branches_what_is_missed_lost_and_left_is_all(
    start: Lists, cuts: list[int], judged: list[dict[int, int]]
) -> None:
    steps = [start]
    for cut in cuts:  # each step turns the order around, and keeps some
        steps.append([row[::-1][:cut] for row in steps[-1]])
    relevant = Relevant.of(_qrels(judged))
    inputs = [(), *((number,) for number in range(len(cuts)))]
    missed, counts = survival(ranks_after(map(_rankings, steps), relevant), inputs, 10)
    assert missed + sum(step.lost for step in counts) + counts[-1].relevant == len(relevant)


def test_the_rows_of_a_query_are_found() -> None:
    relevant = Relevant.of(_qrels([{3: 1, 5: 2}, {1: 0}, {0: 1}]))
    assert [relevant.of_query(row) for row in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 3)]


def test_a_query_and_the_next_ones_document_are_not_mixed_up() -> None:
    """Documents of 31 bits have their own half of the key."""
    last = 2**31 - 1
    relevant = Relevant.of(_qrels([{last: 1}, {0: 1}]))
    assert ranks_after([_rankings([[0], [last]])], relevant).tolist() == [[0], [0]]
    assert ranks_after([_rankings([[last], [0]])], relevant).tolist() == [[1], [1]]


# -- the documents' way ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _stages(toy_stages: Path) -> None:
    """The toys, for one test at a time."""


def _names(way: Way) -> list[tuple[str, tuple[int, ...]]]:
    return [(node.stage.name, before) for node, before in zip(way.nodes, way.inputs, strict=True)]


def test_the_way_of_a_line_is_its_stages() -> None:
    end = (toys.toy(k=5) >> make_stage("toy-rerank") >> make_stage("cutoff", k=2)).graph()
    assert _names(Way.to(end)) == [("toy", ()), ("toy-rerank", (0,)), ("cutoff", (1,))]


def test_query_stages_and_what_they_look_at_are_not_on_the_way() -> None:
    end = (
        toys.toy(k=5)
        >> make_stage("cutoff", k=1)
        >> make_stage("toy-feedback")
        >> toys.toy(k=3)
        >> make_stage("toy-rerank")
    ).graph()
    way = Way.to(end)
    assert _names(way) == [("toy", ()), ("toy-rerank", (0,))]
    assert way.nodes[0].stage == toys.toy(k=3)


def test_what_feedback_looks_at_is_on_the_way_where_its_documents_go_on() -> None:
    first = toys.toy(k=5)
    end = fuse(first, first >> make_stage("toy-feedback") >> toys.toy(k=3)).graph()
    assert _names(Way.to(end)) == [("toy", ()), ("toy", ()), ("fuse", (0, 1))]


def test_a_stage_that_branches_share_is_one_step() -> None:
    one = toys.toy(k=5)
    end = fuse(one >> make_stage("cutoff", k=2), one >> make_stage("toy-rerank"), one).graph()
    assert _names(Way.to(end)) == [("toy", ()), ("cutoff", (0,)), ("toy-rerank", (0,)), ("fuse", (1, 2, 0))]


def test_a_step_that_is_not_known_gives_its_place_to_its_inputs() -> None:
    end = (
        fuse(toys.toy(k=5), toys.toy(k=4) >> make_stage("cutoff", k=2)) >> make_stage("toy-rerank")
    ).graph()

    def known_without(*lost: str) -> Way:
        def known(node: Node) -> bool:
            return node.stage.name not in lost

        return Way.to(end, known)

    way = known_without("fuse", "cutoff")
    assert _names(way) == [("toy", ()), ("toy", ()), ("toy-rerank", (0, 1))]
    assert [node.stage.name for node in way.left_out] == ["cutoff", "fuse"]
    assert _names(known_without("toy")) == [("cutoff", ()), ("fuse", (0,)), ("toy-rerank", (1,))]
    assert _names(known_without("toy", "fuse", "cutoff", "toy-rerank")) == [("toy-rerank", ())]
    # The cut branch and the other one lack their beginnings: nobody knows what was found there.
    assert [known_without(*lost).unknown for lost in (("cutoff",), ("toy",), ("toy", "fuse", "cutoff"))] == [
        (),
        (0, 1),  # the cut, and the fusion for its other branch
        (0,),
    ]
    assert known_without("toy", "fuse").unknown == (0, 1)
