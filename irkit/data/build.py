"""Builds the two artifacts of a collection: its documents ("docs"), and its queries and judgements ("topics")."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DataError
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.data.collection import EvalPolicy, Qrels
from irkit.data.docstore import DocStore, Document
from irkit.data.source import EXCLUDED, Judgement, Oddities, Source, Table, Topic, clean
from irkit.data.topics import save_topics
from irkit.store import Build

OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called now and then while documents are read, with (what, documents so far, documents in all or None when unknown)."""

_EVERY = 2000
_EMPTY = "the file is empty: was its copy or download cut short?"


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
        raise DataError.of("there is no document", where=table.origin, hint=_EMPTY)
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
    codes = _Codes(docs)
    qrels_table, topics_table = source.qrels(scratch), source.topics(scratch)
    judged, excluded = _read_judgements(qrels_table, odd, editable=source.editable)
    rows = _read_topics(topics_table, odd)
    if not rows:
        raise DataError.of("there is no query", where=topics_table.origin, hint=_EMPTY)
    if not judged:
        raise DataError.of("there is no judgement", where=qrels_table.origin, hint=_EMPTY)
    for qid, gains in judged.items():
        if qid not in rows:
            for number, _ in gains.values():
                odd.add("judgement of a query that does not exist", f"{qrels_table.near(number)} {qid!r}")
    if not judged.keys() & rows.keys():
        example = f"judgements are of queries like {next(iter(judged))!r}, queries have ids like {next(iter(rows))!r}"
        raise DataError.of(
            f"no query has a judgement: {example}",
            where=qrels_table.origin,
            hint=f"compare with {topics_table.origin}",
        )
    kept = [topic for qid, topic in rows.items() if not source.judged_only or qid in judged]

    qrels = _qrels([judged.get(topic.qid, {}) for topic in kept], codes, odd, qrels_table)
    exclude = tuple(
        codes.known([*topic.excluded, *excluded.get(topic.qid, ())], odd, source.policy, topic.qid)
        for topic in kept
    )
    for topic in kept:
        if not source.policy.drop_self and _is_document(topic, codes, docs):
            odd.add("query id is also a document id and policy.drop_self is off", f"query {topic.qid!r}")
    queries = Queries(
        tuple(topic.qid for topic in kept),
        tuple(topic.text for topic in kept),
        exclude if any(len(of_query) for of_query in exclude) else (),
    )
    save_topics(build.path("topics.json").parent, queries, qrels)
    return {
        "content": content,
        "fingerprint": _fingerprint(content, queries, qrels, source.policy),
        "warnings": odd.found,
    }


def _is_document(topic: Topic, codes: _Codes, docs: DocStore) -> bool:
    """Whether a query is a document of the collection: it has its id; where that is a bare number, its text as well.

    Collections that number both queries and documents from 1 have many ids in common and mean nothing by it.
    """
    code = codes.find(topic.qid)
    if code is None or not topic.qid.isdecimal():
        return code is not None
    asked, text = (" ".join(each.casefold().split()) for each in (topic.text, docs.text(code)))
    return bool(asked) and asked in text


class _Codes:
    """Document ids to codes, each looked up once."""

    def __init__(self, docs: DocStore) -> None:
        self.count = len(docs)
        self._docs, self._seen = docs, dict[str, int | None]()

    def find(self, docno: str) -> int | None:
        if docno not in self._seen:
            self._seen[docno] = self._docs.code(docno)
        return self._seen[docno]

    def known(self, docnos: list[str], odd: Oddities, policy: EvalPolicy, qid: str) -> NDArray[np.int32]:
        """Return the ascending codes of what a query excludes; documents that the collection lacks are counted."""
        found = set[int]()
        for docno in docnos:
            code = self.find(docno)
            if code is None:
                odd.add("excluded document that the collection lacks", f"query {qid!r}: {docno!r}")
            else:
                found.add(code)
        own = self.find(qid) if policy.drop_self else None
        return np.array(sorted(found if own is None else found | {own}), dtype=np.int32)


_Gains: TypeAlias = dict[str, tuple[int, int]]  # docno -> (line, gain)


def _read_judgements(
    table: Table[Judgement], odd: Oddities, *, editable: bool
) -> tuple[dict[str, _Gains], dict[str, list[str]]]:
    """Return the judgements by query, and what relevance -100 excludes."""
    judged, excluded = dict[str, _Gains](), dict[str, list[str]]()
    for number, (qid, docno, gain) in table.rows():
        if gain == EXCLUDED:
            excluded.setdefault(qid, []).append(docno)
            continue
        gains = judged.setdefault(qid, {})
        if docno in gains:
            if editable:
                message = f"query {qid!r} judges the document {docno!r} twice"
                hint = f"the first judgement is at {table.at(gains[docno][0])}; keep one of them"
                raise DataError.of(message, where=table.at(number), hint=hint)
            odd.add("repeated judgement (the last one counts)", f"{table.near(number)} {qid!r} {docno!r}")
        gains[docno] = (number, gain)
    return judged, excluded


def _read_topics(table: Table[Topic], odd: Oddities) -> dict[str, Topic]:
    rows, numbers = dict[str, Topic](), dict[str, int]()
    for number, topic in table.rows():
        if topic.qid in rows:
            message = f"the query id {topic.qid!r} appears twice"
            hint = f"the first is at {table.at(numbers[topic.qid])}; give every query an id of its own"
            raise DataError.of(message, where=table.at(number), hint=hint)
        text = clean(topic.text, odd, table.near(number))
        if not text.strip():
            odd.add("query without text", f"{table.near(number)} {topic.qid!r}")
        rows[topic.qid] = topic._replace(text=text)
        numbers[topic.qid] = number
    return rows


def _qrels(judged: list[_Gains], codes: _Codes, odd: Oddities, table: Table[Judgement]) -> Qrels:
    lacking = Counter[str]()
    for gains in judged:
        for docno, (number, _) in gains.items():
            if codes.find(docno) is None:
                lacking[docno] += 1
                odd.add("judged document that the collection lacks", f"{table.near(number)} {docno!r}")
    total = sum(map(len, judged))
    if lacking.total() == total:
        message = f"the collection has none of the {len(lacking)} judged documents, such as {min(lacking)!r}"
        raise DataError.of(
            message, where=table.origin, hint="are these the judgements of another collection?"
        )
    unknown = tuple(sorted(lacking, key=str.encode))
    beyond = {docno: codes.count + i for i, docno in enumerate(unknown)}
    doc, gain = np.empty(total, np.int32), np.empty(total, np.int32)
    offsets = offsets_of([len(gains) for gains in judged])
    for start, gains in zip(
        offsets.tolist(), judged, strict=False
    ):  # offsets has one more: where the last query ends
        pairs = list[tuple[int, int]]()
        for docno, (_, value) in gains.items():
            known = codes.find(docno)
            pairs.append((beyond[docno] if known is None else known, value))
        for place, (code, value) in enumerate(sorted(pairs), start):
            doc[place], gain[place] = code, value
    return Qrels(offsets, doc, gain, unknown)


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
            "policy": policy.model_dump(mode="json"),
        }
    )
