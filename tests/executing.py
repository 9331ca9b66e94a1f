"""Running pipelines over a toy collection, for the tests of execution."""

from __future__ import annotations

from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.exec.executor import Executor
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node, Pipeline
from irkit.pipeline.stage import Stage
from irkit.store import Store

MORE = {
    "n1": "d e",
    "q1": "a b",
    "n2": "b b c",
    "q2": "c d",
    "q3": "e",
    "q4": "zzz",
    "n3": "a",
    "q5": "a b c d e",
}
"""The queries of :data:`toys.QUERIES` and three more, in another order."""


def graph(pipeline: Pipeline | Stage) -> Node:
    return Pipeline.of(pipeline).graph()


def run(store: Store, collection: Collection, *pipelines: Pipeline | Stage) -> list[Rankings]:
    """Compute pipelines as a new process would."""
    ends = [graph(pipeline) for pipeline in pipelines]
    executor = Executor(Context(collection, store), ends)
    return [executor.rankings(end) for end in ends]
