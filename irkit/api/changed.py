"""What the query stages of pipelines made of queries, as the results keep it: of those that won and lost most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from irkit.core.text import well_formed
from irkit.exec.changes import Step, query_nodes, stored_changes
from irkit.exec.executor import Executor
from irkit.pipeline.graph import Node
from irkit.report.pairs import TIE
from irkit.report.results import ChangedQuery, ChangedTerm, ChangeStep

SHOWN = 5
"""Queries of a pipeline that won most, and as many that lost most."""
TERMS, LINES, CHARACTERS = 20, 10, 2000
"""What is kept of a step at most: weighted terms, lines that the stage told, characters of a text."""

Values = NDArray[np.float64]


def changed_queries(
    ends: Mapping[str, Node],
    executor: Executor,
    metric: str,
    values: Mapping[str, Values],
    baseline: Values | None,
) -> list[ChangedQuery]:
    """Return of each pipeline with query stages what they made of the queries that lost most, then of those that won most.

    Where no query won or lost, or there is no baseline, it is the first queries.

    Args:
        ends: the last node of every pipeline; their results are in the store.
        executor: of the collection.
        metric: what wins and losses are of.
        values: by pipeline, its values for the judged queries, ``float64[J]``.
        baseline: the values to compare with; None without a baseline.
    """
    collection = executor.context.collection
    judged = np.flatnonzero(collection.judged)
    found = []
    for pipeline, end in ends.items():
        if not query_nodes(end):
            continue
        deltas = np.zeros(len(judged)) if baseline is None else values[pipeline] - baseline
        places = most_moved(deltas, SHOWN)
        steps = stored_changes(end, judged[places].tolist(), executor)
        for place, done in zip(places, steps, strict=True):
            row = int(judged[place])
            found.append(
                ChangedQuery(
                    pipeline=pipeline,
                    qid=collection.queries.qid[row],
                    query=_short(collection.queries.text[row]),
                    steps=[_step(each) for each in done],
                    metric=None if baseline is None else metric,
                    delta=None if baseline is None else float(deltas[place]),
                )
            )
    return found


def most_moved(deltas: Values, count: int) -> list[int]:
    """Return the places of the greatest losses, then of the greatest gains, ``count`` of each at most; of equal ones the first.

    Where all are ties, the first places.
    """
    order = np.argsort(deltas, kind="stable").tolist()
    losses = [place for place in order if deltas[place] < -TIE][:count]
    gains = sorted((place for place in order if deltas[place] > TIE), key=lambda place: -deltas[place])
    return losses + gains[:count] or order[:count]


def _step(step: Step) -> ChangeStep:
    terms = [
        ChangedTerm(term=_short(term.text), weight=float(f"{term.weight:.4g}"), original=term.original)
        for term in step.terms[:TERMS]
    ]
    return ChangeStep(
        stage=step.stage,
        before=_short(step.before),
        text=_short(step.text),
        terms=terms,
        more=len(step.terms) - len(terms),
        told=[_short(line) for line in step.told[:LINES]],
        forms=list(step.forms),
    )


def _short(text: str) -> str:
    """Return a text that JSON can hold, and no longer than a person reads."""
    text = well_formed(text)
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"
