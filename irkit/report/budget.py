"""The bytes that the details of queries may take in a report, shared by an experiment's collections."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import zip_longest

from irkit.report.details import Details, QueryDetails, mentioned
from irkit.report.results import Record

_LEVEL = 6


class Costs(Record):
    """The bytes of details as JSON, deflated, aligned with their queries and documents; together those of the whole."""

    queries: list[int]
    documents: list[int]


def costs_of(details: Details) -> Costs:
    """Return what each query and each document costs.

    They share the bytes of the whole as a stream does that is flushed after each of them, which knows what came before alone: each
    document stands before the first query that mentions it.
    """
    flushed, whole, size, written = zlib.compressobj(_LEVEL), zlib.compressobj(_LEVEL), 0, 0
    costs: dict[bool, list[int]] = {True: [], False: []}  # of queries, of documents
    for query in details.queries:
        needed = max(written, 1 + max(mentioned(query), default=-1))
        for row in (*details.documents[written:needed], query):
            text = f"{row.model_dump_json()},".encode()
            size += len(whole.compress(text))
            costs[row is query].append(len(flushed.compress(text)) + len(flushed.flush(zlib.Z_SYNC_FLUSH)))
        written = needed
    size += len(whole.flush())
    total = sum(map(sum, costs.values()))
    queries, documents = ([-(-cost * size // total) for cost in costs[kind]] for kind in (True, False))
    return Costs(queries=queries, documents=documents)


def fitted(details: Sequence[Details], costs: Sequence[Costs], limit: int) -> list[Details]:
    """Return as many queries of each collection as fit into a number of bytes.

    The collections take turns, each with the first of its queries that it has not offered yet. One that does not fit into what is
    left is left out with the documents that it alone mentions, and the turns go on: a long query keeps no other one away.

    Args:
        details: of the collections.
        costs: their :func:`costs_of`.
        limit: of the bytes of all of them together.
    """
    kept: list[list[QueryDetails]] = [[] for _ in details]
    there: list[set[int]] = [set() for _ in details]
    for number, turn in enumerate(zip_longest(*(each.queries for each in details))):
        for place, query in enumerate(turn):
            if query is None:
                continue
            new = set(mentioned(query)) - there[place]
            cost = costs[place].queries[number] + sum(costs[place].documents[doc] for doc in new)
            if cost <= limit:
                limit -= cost
                kept[place].append(query)
                there[place] |= new
    return [_with(each, queries) for each, queries in zip(details, kept, strict=True)]


def _with(details: Details, queries: list[QueryDetails]) -> Details:
    """Return some of the queries, and the documents that they mention, in the order in which they do."""
    left_out = len(details.queries) - len(queries)
    if not left_out:
        return details
    numbers = {
        doc: number
        for number, doc in enumerate(dict.fromkeys(doc for query in queries for doc in mentioned(query)))
    }
    return Details(
        collection=details.collection,
        documents=[details.documents[doc] for doc in numbers],
        queries=[_renumbered(query, numbers) for query in queries],
        over_budget=left_out,
    )


def _renumbered(query: QueryDetails, numbers: dict[int, int]) -> QueryDetails:
    relevant = [each.model_copy(update={"doc": numbers[each.doc]}) for each in query.relevant]
    hits = {
        pipeline: each.model_copy(update={"docs": [numbers[doc] for doc in each.docs]})
        for pipeline, each in query.hits.items()
    }
    return query.model_copy(update={"relevant": relevant, "hits": hits})
