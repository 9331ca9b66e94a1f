"""Answering queries as they are typed: the stages of a pipeline stay open, and nothing is stored but indexes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from irkit.core.explanation import Explains, Explanation
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.changes import Step, changes, query_nodes
from irkit.exec.check import run_stage
from irkit.exec.results import Result
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.stage import Batch, Stage


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pipeline did, and why.

    Attributes:
        rankings: of Q queries.
        documents: per query, what the last stage saw in its best documents; none where it cannot explain itself.
        changes: per query, what each query stage did to it; none where the pipeline has none.
    """

    rankings: Rankings
    documents: list[list[Explanation]]
    changes: list[list[Step]]


class Searcher:
    """A pipeline with its models loaded and its indexes open."""

    def __init__(self, context: Context, end: Node) -> None:
        """Load and open everything that the pipeline needs."""
        self._end = end
        self._docs = context.collection.docs
        self._states: dict[Stage, Any] = {}
        for node in end.walk():
            if node.stage not in self._states:
                self._states[node.stage] = node.stage.prepare(replace(context, notes={}, counts=Counter()))

    def __call__(self, queries: Queries) -> Rankings:
        """Return the pipeline's rankings of the queries."""
        return self._rankings(self._results(queries))

    def explained(self, queries: Queries, top: int) -> Seen:
        """Return the rankings, what happened to every query, and what the last stage saw in its best documents.

        Raises:
            TypeError: when the pipeline has no query stage, and its last stage cannot explain itself.
        """
        end, results = self._end, self._results(queries)
        changed: dict[Node, Queries] = {node: results[node] for node in query_nodes(end)}  # type: ignore[misc]
        if not changed and not isinstance(end.stage, Explains):
            raise TypeError(f"{end.stage.name!r} does not explain its results")
        documents: list[list[Explanation]] = [[] for _ in range(len(queries))]
        if isinstance(end.stage, Explains):
            asked = changed[end.queries] if end.queries else queries
            before = results[end.upstream[0]]
            for row, text in enumerate(asked.text):
                given = before[row]  # type: ignore[index]
                seen = end.stage.explain(text, given, self._states[end.stage], top)
                documents[row] = [each.after(given[0]) for each in seen]
        return Seen(self._rankings(results), documents, changes(queries, changed))

    def _results(self, queries: Queries) -> dict[Node, Result]:
        results: dict[Node, Result] = {}
        for node in self._end.walk():
            seen = results[node.queries] if node.queries else queries
            upstream = tuple(results[each] for each in node.upstream)
            results[node] = run_stage(node.stage, Batch(seen, upstream), self._states[node.stage], self._docs)  # type: ignore[arg-type]
        return results

    def _rankings(self, results: dict[Node, Result]) -> Rankings:
        result = results[self._end]
        if not isinstance(result, Rankings):
            raise TypeError(f"{self._end.stage.name!r} produces queries, not rankings")
        return result
