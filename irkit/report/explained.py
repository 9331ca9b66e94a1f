"""Explanations as rows to print: what a stage saw in documents, in shades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from irkit.core.explanation import Explanation
from irkit.report.results import ExplainedDocument, ExplainedQuery, PerQuery

SHADES = 10
"""Steps of a background's opacity, each way: classes ``w1`` to ``w10`` for weights above zero, ``n1`` to ``n10`` below."""
_SHOWN = 5


@dataclass(frozen=True)
class Span:
    """A stretch of a document.

    Attributes:
        text: as it stands there.
        shade: the class of its background; None for a stretch that counts for nothing.
        weight: what it contributes to the score.
    """

    text: str
    shade: str | None
    weight: float


@dataclass(frozen=True)
class DocumentView:
    """A document in shades, and the words that count most with their weights."""

    document: ExplainedDocument
    spans: tuple[Span, ...]
    best: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class QueryView:
    """A query and its best documents in one scale of shades."""

    query: ExplainedQuery
    documents: tuple[DocumentView, ...]


@dataclass(frozen=True)
class ExplainedTable:
    """What one stage of a pipeline saw on one collection."""

    collection: str
    pipeline: str
    stage: str
    queries: tuple[QueryView, ...]


def explained_tables(per_query: Sequence[PerQuery]) -> list[ExplainedTable]:
    """Return a table per collection, pipeline and stage that explained itself, in the order of the experiment."""
    tables = []
    for values in per_query:
        for (pipeline, stage), queries in groupby(
            values.explained, key=lambda each: (each.pipeline, each.stage)
        ):
            views = tuple(_query(each) for each in queries)
            tables.append(ExplainedTable(values.collection, pipeline, stage, views))
    return tables


def _query(query: ExplainedQuery) -> QueryView:
    greatest = max((abs(weight) for each in query.documents for weight in each.weights), default=0.0)
    return QueryView(query, tuple(_document(each, greatest) for each in query.documents))


def _document(document: ExplainedDocument, greatest: float) -> DocumentView:
    spans: list[Span] = []
    for piece, weight in zip(document.pieces, document.weights, strict=True):
        shade = shade_of(weight, greatest)
        if not spans and not (piece := piece.lstrip()):  # the page keeps white space, and begins with none
            continue
        if shade is None and spans and spans[-1].shade is None:
            spans[-1] = Span(spans[-1].text + piece, None, spans[-1].weight + weight)
        else:
            spans.append(Span(piece, shade, weight))
    seen = Explanation(0, document.score, tuple(document.pieces), tuple(document.weights))
    return DocumentView(document, tuple(spans), tuple(seen.strongest(_SHOWN)))


def shade_of(weight: float, greatest: float) -> str | None:
    """Return the class of a weight's background, ``greatest`` having the strongest; None for a weight that has none."""
    step = round(SHADES * abs(weight) / greatest) if greatest else 0
    return f"{'w' if weight > 0 else 'n'}{step}" if step else None
