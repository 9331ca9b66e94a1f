"""What stages count is summed over the chunks that were computed, whatever else their state was used for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar

import pytest
import toys
from executing import graph
from toys import QUERIES, Look, toy

from irkit.api.run import _stage_times
from irkit.core.explanation import Explanation
from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.data.collection import Collection
from irkit.exec.executor import Cost, Executor
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.registry import make_stage, register
from irkit.pipeline.stage import Batch
from irkit.store import Store

pytestmark = pytest.mark.usefixtures("toy_stages")


class Counting(Look):
    """Counts its queries, two at a time, and is stopped at those of ``stop``."""

    chunk: ClassVar[int] = 2
    stop: ClassVar[frozenset[str]] = frozenset()

    def prepare(self, context: Context) -> Any:
        toys.log("prepare", self.name)
        context.notes["device"] = "toy"
        return context

    def run(self, batch: Batch, state: Context) -> Rankings:
        if self.stop & set(batch.queries.qid):
            raise KeyboardInterrupt
        state.counts["queries"] += len(batch.queries)
        state.counts["answers/good"] += 1
        state.counts["answers/bad"] += 0
        return super().run(batch, state.collection.docs)

    def explain(
        self, query: str, rankings: tuple[CodeArray, ScoreArray], state: Context, top: int
    ) -> list[Explanation]:
        return super().explain(query, rankings, state.collection.docs, top)


@pytest.fixture(autouse=True)
def counting(toy_stages: object) -> Iterator[None]:
    register("toy-counting")(Counting)
    yield
    Counting.stop = frozenset()


def costs(store: Store, collection: Collection, *ends: Node) -> list[Cost]:
    executor = Executor(Context(collection, store), ends)
    for end in ends:
        executor.rankings(end)
    traces = dict(executor.traces())
    return [traces[end].cost for end in ends]


COUNTED = {"device": "toy", "queries": len(QUERIES), "answers": {"good": 3, "bad": 0}}


def test_counts_are_summed_over_chunks(store: Store, collection: Collection) -> None:
    end = graph(toy(k=5) >> make_stage("toy-counting"))
    (cost,) = costs(store, collection, end)
    assert cost.told() == COUNTED
    assert cost.notes == {"device": "toy"}
    assert costs(store, collection, end) == [cost]


def test_the_report_is_given_counts_among_the_notes(store: Store, collection: Collection) -> None:
    end = graph(toy(k=5) >> make_stage("toy-counting"))
    executor = Executor(Context(collection, store), [end])
    executor.rankings(end)
    assert _stage_times("toy", {"one": end}, executor)[-1].notes == COUNTED


def test_counts_are_whole_after_an_interrupted_run(store: Store, collection: Collection) -> None:
    end = graph(toy(k=5) >> make_stage("toy-counting"))
    Counting.stop = frozenset({"q3"})
    with pytest.raises(KeyboardInterrupt):
        costs(store, collection, end)
    Counting.stop = frozenset()
    (cost,) = costs(store, collection, end)
    assert cost.told() == COUNTED


def test_equal_stages_count_for_themselves(store: Store, collection: Collection) -> None:
    stage = make_stage("toy-counting", explanations=2)
    found = costs(store, collection, graph(toy(k=5) >> stage), graph(toy(k=2) >> stage))
    assert toys.calls("prepare", "toy-counting") == 1
    assert [cost.told() for cost in found] == [COUNTED] * 2


def test_costs_from_before_there_were_counts_are_read() -> None:
    old = asdict(Cost(1.0, 2.0, 3, {"documents_cut": 4, "device": "cpu"}))
    del old["counts"]
    read = Cost(**json.loads(json.dumps(old)))
    assert read.told() == {"documents_cut": 4, "device": "cpu"}
    whole = read + Cost(1.0, 0.0, 2, {}, {"cut": 1}) + Cost(0.0, 0.0, 1, {}, {"cut": 2, "more": 1})
    assert (whole.counts, whole.computed) == ({"cut": 3, "more": 1}, 6)
