"""Queries as the stages of a pipeline changed them, as rows to print: what is new in the text, the terms in shades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from irkit.exec.changes import marked
from irkit.report.explained import shade_of
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


def changed_tables(per_query: Sequence[PerQuery]) -> list[ChangedTable]:
    """Return a table per collection and pipeline with query stages, in the order of the experiment."""
    return [
        ChangedTable(values.collection, pipeline, tuple(_query(each) for each in queries))
        for values in per_query
        for pipeline, queries in groupby(values.changed, key=lambda each: each.pipeline)
    ]


def _query(query: ChangedQuery) -> ChangedView:
    steps, text = [], query.query
    for step in query.steps:
        greatest = max((abs(each.weight) for each in step.terms), default=0.0)
        words = marked(text, step.text) if step.text != text else ()
        steps.append(
            StepView(
                step, tuple(words), tuple((each, shade_of(each.weight, greatest)) for each in step.terms)
            )
        )
        text = step.text
    return ChangedView(query, tuple(steps))
