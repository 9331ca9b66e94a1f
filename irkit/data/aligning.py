"""Queries and judgements by the codes of documents: what both mean together is settled here, wherever they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DataError
from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.data.collection import EvalPolicy, Qrels
from irkit.data.source import EXCLUDED, Judgement, Oddities, Table, Topic, clean

EMPTY = "the file is empty: was its copy or download cut short?"


class Named(Protocol):
    """What is needed of documents to give their codes to queries and judgements."""

    def __len__(self) -> int: ...

    def code(self, docno: str) -> int | None:
        """Return the code of a document id, None when there is no such document."""
        ...

    def text(self, code: int) -> str:
        """Return the text, "" where it is not known."""
        ...


Gains: TypeAlias = dict[str, tuple[int, int]]
"""The judgements of a query: docno -> (line, gain)."""


def check_topics(
    rows: Mapping[str, Topic],
    topics: Table[Topic],
    judged: Mapping[str, Gains],
    qrels: Table[Judgement],
    odd: Oddities,
) -> None:
    """Count the judgements of queries that do not exist.

    Raises:
        DataError: for no query, no judgement, and judgements that fit no query.
    """
    if not rows:
        raise DataError.of("there is no query", where=topics.origin, hint=EMPTY)
    if not judged:
        raise DataError.of("there is no judgement", where=qrels.origin, hint=EMPTY)
    for qid, gains in judged.items():
        if qid not in rows:
            for number, _ in gains.values():
                odd.add("judgement of a query that does not exist", f"{qrels.near(number)} {qid!r}")
    if not judged.keys() & rows.keys():
        example = f"judgements are of queries like {next(iter(judged))!r}, queries have ids like {next(iter(rows))!r}"
        raise DataError.of(
            f"no query has a judgement: {example}", where=qrels.origin, hint=f"compare with {topics.origin}"
        )


def align(
    topics: Sequence[Topic],
    judged: Mapping[str, Gains],
    excluded: Mapping[str, Sequence[str]],
    docs: Named,
    policy: EvalPolicy,
    odd: Oddities,
    table: Table[Judgement],
) -> tuple[Queries, Qrels]:
    """Return the queries, with what each excludes, and their judgements, all by the codes of the documents.

    Args:
        topics: the queries to keep, in their order.
        judged: the judgements by query.
        excluded: docnos by query, besides those that the topics themselves exclude.
        docs: the documents.
        policy: whether a query excludes the document of its own id.
        odd: counts what is odd but usable.
        table: where the judgements come from, for messages.

    Raises:
        DataError: when the collection has none of the judged documents.
    """
    codes = _Codes(docs)
    qrels = _qrels([judged.get(topic.qid, {}) for topic in topics], codes, odd, table)
    exclude = tuple(
        codes.known([*topic.excluded, *excluded.get(topic.qid, ())], odd, policy, topic.qid)
        for topic in topics
    )
    for topic, codes_of in zip(topics, exclude, strict=True):
        if codes.find(topic.qid) not in codes_of.tolist() and _is_document(topic, codes, docs):
            odd.add("query id is also a document id and policy.drop_self is off", f"query {topic.qid!r}")
    queries = Queries(
        tuple(topic.qid for topic in topics),
        tuple(topic.text for topic in topics),
        exclude if any(len(of_query) for of_query in exclude) else (),
    )
    return queries, qrels


def _is_document(topic: Topic, codes: _Codes, docs: Named) -> bool:
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

    def __init__(self, docs: Named) -> None:
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


def read_judgements(
    table: Table[Judgement], odd: Oddities, *, editable: bool
) -> tuple[dict[str, Gains], dict[str, list[str]]]:
    """Return the judgements by query, and what relevance -100 excludes.

    Raises:
        DataError: for a repeated judgement, when the user can correct it (``editable``); else it is counted.
    """
    judged, excluded = dict[str, Gains](), dict[str, list[str]]()
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


def read_topics(table: Table[Topic], odd: Oddities) -> dict[str, Topic]:
    """Return the queries by id, their texts clean.

    Raises:
        DataError: for two queries of one id.
    """
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


def _qrels(judged: list[Gains], codes: _Codes, odd: Oddities, table: Table[Judgement]) -> Qrels:
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
