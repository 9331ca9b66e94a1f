"""Builds the two artifacts of a collection: its documents ("docs"), and its queries and judgements ("topics")."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from irkit.core.errors import DataError
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.data.aligning import EMPTY, align, check_topics, read_judgements, read_topics
from irkit.data.collection import EvalPolicy, Qrels
from irkit.data.docstore import DocStore, Document
from irkit.data.source import Oddities, Source, Table, clean
from irkit.data.topics import save_topics
from irkit.store import Build

OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called now and then while documents are read, with (what, documents so far, documents in all or None when unknown)."""

_EVERY = 2000


def build_docs(table: Table[Document], build: Build, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Write ``text.bin`` and ``bounds.npy``; the corpus streams through, only ids, places and lengths are held.

    Returns:
        meta: ``count``, ``content`` (SHA-256 of the documents in the order of their codes), ``warnings``.

    Raises:
        DataError: for two documents of one id, no document at all, and whatever the table finds wrong.
    """
    odd, ids = Oddities(), list[bytes]()
    bounds, numbers, position = array("q"), array("q"), 0
    with build.path("text.bin").open("wb") as file:
        for number, document in table.rows():
            parts = _encoded(document, odd, table.near(number))
            for part in parts:
                bounds.append(position)
                file.write(part)
                position += len(part)
            bounds.append(position)
            numbers.append(number)
            ids.append(parts[0])
            if on_progress and len(ids) % _EVERY == 0:
                on_progress("documents", len(ids), table.total)
    if not ids:
        raise DataError.of("there is no document", where=table.origin, hint=EMPTY)
    order = sorted(range(len(ids)), key=ids.__getitem__)  # by the bytes of the UTF-8 form; stable
    for first, second in pairwise(order):
        if ids[first] == ids[second]:
            message = f"the document id {ids[first].decode()!r} appears twice"
            hint = f"the first is at {table.at(numbers[first])}; give every document an id of its own"
            raise DataError.of(message, where=table.at(numbers[second]), hint=hint)
    if on_progress:
        on_progress("documents", len(ids), len(ids))
    np.save(
        build.path("bounds.npy"), np.frombuffer(bounds, np.int64).reshape(-1, 4)[order], allow_pickle=False
    )
    content = DocStore(build.path("text.bin").parent).content()
    return {"count": len(ids), "content": content, "warnings": odd.found}


def _encoded(document: Document, odd: Oddities, place: str) -> tuple[bytes, bytes, bytes]:
    docno, title, body = document
    title, body = clean(title, odd, place), clean(body, odd, place)
    if not body.strip():
        kind = "document without text, title only" if title.strip() else "empty document"
        odd.add(kind, f"{place} {docno!r}")
    return docno.encode(), title.encode(), body.encode()


def build_topics(source: Source, docs: DocStore, content: str, build: Build) -> dict[str, Any]:
    """Write the queries, their exclusions and the judgements.

    Args:
        source: what to read.
        docs: the documents, whose codes the judgements use.
        content: the content fingerprint of the documents.
        build: where to write.

    Returns:
        meta: ``fingerprint`` of documents, queries, judgements and policy together, ``content``, ``warnings``.

    Raises:
        DataError: for two queries of one id, a repeated judgement, no query, no judgement, judgements that fit no query or no
            document, and whatever the tables find wrong.
    """
    odd, scratch = Oddities(), build.folder
    qrels_table, topics_table = source.qrels(scratch), source.topics(scratch)
    judged, excluded = read_judgements(qrels_table, odd, editable=source.editable)
    rows = read_topics(topics_table, odd)
    check_topics(rows, topics_table, judged, qrels_table, odd)
    kept = [topic for qid, topic in rows.items() if not source.judged_only or qid in judged]
    queries, qrels = align(kept, judged, excluded, docs, source.policy, odd, qrels_table)
    save_topics(build.path("topics.json").parent, queries, qrels)
    return {
        "content": content,
        "fingerprint": _fingerprint(content, queries, qrels, source.policy),
        "warnings": odd.found,
    }


def _fingerprint(content: str, queries: Queries, qrels: Qrels, policy: EvalPolicy) -> str:
    arrays = hashlib.sha256()
    for values, dtype in ((qrels.offsets, "<i8"), (qrels.doc, "<i4"), (qrels.gain, "<i4")):
        arrays.update(np.ascontiguousarray(values, dtype=dtype).tobytes())
    return fingerprint(
        {
            "docs": content,
            "qid": queries.qid,
            "queries": queries.keys(),
            "qrels": arrays.hexdigest(),
            "unknown": qrels.unknown,
            "policy": policy.identity(),
        }
    )
