"""Queries as the stages of a pipeline changed them, as rows to print: what is new in the text, the terms in shades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from irkit.exec.changes import marked
from irkit.report.explained import shade_of
from irkit.report.pairs import TIE
from irkit.report.results import ChangedQuery, ChangedTerm, ChangeStep, PerQuery


@dataclass(frozen=True)
class StepView:
    """What one stage did.

    Attributes:
        words: the new text in stretches, each with whether it is new; empty where the stage left the text as it was.
        terms: the weighted terms, each with the class of its background, None where it is too weak for one.
    """

    step: ChangeStep
    words: tuple[tuple[str, bool], ...]
    terms: tuple[tuple[ChangedTerm, str | None], ...]

    @property
    def changed(self) -> bool:
        """Whether the query is another than before."""
        return bool(self.words or self.terms or self.step.forms)


@dataclass(frozen=True)
class ChangedView:
    """A query and what became of it."""

    query: ChangedQuery
    steps: tuple[StepView, ...]


@dataclass(frozen=True)
class ChangedTable:
    """The queries of one pipeline on one collection."""

    collection: str
    pipeline: str
    queries: tuple[ChangedView, ...]

    @property
    def metric(self) -> str | None:
        """What the differences are of; None where the experiment has no baseline."""
        return self.queries[0].query.metric

    @property
    def tied(self) -> bool:
        """Whether no query won or lost against the baseline, so that these are the first ones."""
        deltas = [view.query.delta for view in self.queries]
        return all(delta is not None and abs(delta) <= TIE for delta in deltas)


def changed_tables(per_query: Sequence[PerQuery]) -> list[ChangedTable]:
    """Return a table per collection and pipeline with query stages, in the order of the experiment."""
    return [
        ChangedTable(values.collection, pipeline, tuple(_query(each) for each in queries))
        for values in per_query
        for pipeline, queries in groupby(values.changed, key=lambda each: each.pipeline)
    ]


def _query(query: ChangedQuery) -> ChangedView:
    steps = []
    for step in query.steps:
        greatest = max((abs(each.weight) for each in step.terms), default=0.0)
        before = query.query if step.before is None else step.before
        words = marked(before, step.text) if step.text != before else ()
        steps.append(
            StepView(
                step, tuple(words), tuple((each, shade_of(each.weight, greatest)) for each in step.terms)
            )
        )
    return ChangedView(query, tuple(steps))
