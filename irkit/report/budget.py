"""The bytes that the details of queries may take in a report, shared by an experiment's collections."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence

from irkit.report.details import Details, mentioned

_LEVEL = 6


def costs_of(details: Details) -> list[int]:
    """Return for each n > 0 the bytes of the first n queries and their documents as JSON, deflated: at ``[n - 1]``.

    The last one is that of the whole. The others share it out as a stream does that is flushed after each query, which knows no
    more than what came before.
    """
    flushed, whole, written, total = zlib.compressobj(_LEVEL), zlib.compressobj(_LEVEL), 0, 0
    size, costs = 0, []
    for query in details.queries:
        needed = max(written, 1 + max(mentioned(query), default=-1))
        rows = [*details.documents[written:needed], query]
        written = needed
        text = "".join(f"{row.model_dump_json()}," for row in rows).encode()
        size += len(whole.compress(text))
        total += len(flushed.compress(text)) + len(flushed.flush(zlib.Z_SYNC_FLUSH))
        costs.append(total)
    size += len(whole.flush())
    return [-(-cost * size // total) for cost in costs]


def fitted(details: Sequence[Details], costs: Sequence[Sequence[int]], limit: int) -> list[Details]:
    """Return as many queries of each collection, the same number of all that have so many, as fit into a number of bytes.

    Args:
        details: of the collections.
        costs: their :func:`costs_of`.
        limit: of the bytes of all of them together.
    """

    def cost(count: int) -> int:
        return sum(each[min(count, len(each)) - 1] for each in costs if count and each)

    most = max(map(len, costs), default=0)
    kept = bisect_right(range(1, most + 1), limit, key=cost)
    return [_first(each, kept) for each in details]


def _first(details: Details, count: int) -> Details:
    """Return the first queries, and the documents that they mention."""
    left_out = len(details.queries) - count
    if left_out <= 0:
        return details
    queries = details.queries[:count]
    last = max((number for query in queries for number in mentioned(query)), default=-1)
    return Details(
        collection=details.collection,
        documents=details.documents[: last + 1],
        queries=queries,
        over_budget=left_out,
    )
