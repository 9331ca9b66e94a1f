"""Documents, queries and judgements from files: JSON Lines, tab-separated, and TREC's formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from irkit.core.errors import DataError
from irkit.data.docstore import Document
from irkit.data.reading import lines
from irkit.data.source import Judgement, Table, Topic, check_id
from irkit.data.trec import trec_documents, trec_topics

_ID = ("_id", "id", "docno", "doc_id", "docid", "qid", "query_id")
_TEXT = ("text", "contents", "body", "query")


def documents(path: Path) -> Table[Document]:
    """Return the documents of a file: JSON Lines (``_id``, ``title``, ``text``), ``id <tab> [title <tab>] text``, or TREC text.

    Raises:
        DataError: on opening or while its rows are read, with ``file:line``.
    """
    readers = {"json": _json_documents, "tab": _tab_documents, "trec": trec_documents}
    reader = readers[_format(path)]
    return Table(str(path), lambda: reader(path))


def topics(path: Path) -> Table[Topic]:
    """Return the queries of a file: JSON Lines with ``_id`` and ``text``, lines ``id <tab> text``, or TREC topics (their titles).

    A JSON field ``excluded_ids``, by itself or within ``metadata``, lists documents the query must never retrieve (BRIGHT).

    Raises:
        DataError: on opening or while its rows are read, with ``file:line``.
    """
    readers = {"json": _json_topics, "tab": _tab_topics, "trec": trec_topics}
    reader = readers[_format(path)]
    return Table(str(path), lambda: reader(path))


def judgements(path: Path) -> Table[Judgement]:
    """Return the judgements of a file: BEIR's three tab-separated columns, TREC's four, or JSON Lines with BEIR's names.

    Raises:
        DataError: on opening or while its rows are read, with ``file:line``.
    """
    reader = _json_judgements if _format(path) == "json" else _column_judgements
    return Table(str(path), lambda: reader(path))


def _format(path: Path) -> str:
    """Return ``json``, ``trec`` or ``tab`` by the first character that is not white space."""
    start = next((line.lstrip()[:1] for _, line in lines(path) if line.strip()), "")
    return {"{": "json", "[": "json", "<": "trec"}.get(start, "tab")


# -- JSON Lines -----------------------------------------------------------------------------------------------------------------


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file; blank lines are skipped.

    Raises:
        DataError: for a line that is not a JSON object.
    """
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"the line is not valid JSON: {error}"
            raise DataError.of(
                message, where=f"{path}:{number}", hint="one JSON object a line, nothing else"
            ) from error
        if not isinstance(record, dict):
            raise DataError.of(
                f"the line is {type(record).__name__}, not a JSON object",
                where=f"{path}:{number}",
                hint='every line is an object such as {"_id": "d1", "text": "..."}',
            )
        yield number, record


def _field(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _id(value: Any, what: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise DataError.of(
            f"the id of the {what} is {value!r}: it must be a string", where=where, hint="put it in quotes"
        )
    return check_id(value or "", what, where)


def _string(value: Any, name: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        message = f"{name} is {type(value).__name__}, not a string"
        raise DataError.of(message, where=where, hint="put the value in quotes")
    return value


def _json_documents(path: Path) -> Iterator[tuple[int, Document]]:
    for number, record in json_records(path):
        where = f"{path}:{number}"
        docno = _id(_field(record, _ID), "document", where)
        title = _string(record.get("title"), "title", where)
        yield number, Document(docno, title, _string(_field(record, _TEXT), "text", where))


def _json_topics(path: Path) -> Iterator[tuple[int, Topic]]:
    for number, record in json_records(path):
        where = f"{path}:{number}"
        qid = _id(_field(record, _ID), "query", where)
        metadata = record.get("metadata")
        excluded = (
            record.get("excluded_ids")
            or (metadata.get("excluded_ids") if isinstance(metadata, dict) else None)
            or []
        )
        if not isinstance(excluded, list):
            raise DataError.of(
                "excluded_ids is not a list of document ids", where=where, hint='write ["d1", "d2"]'
            )
        excluded = tuple(_id(docno, "excluded document", where) for docno in excluded if docno != "N/A")
        yield number, Topic(qid, _string(_field(record, _TEXT), "text", where), excluded)


def _json_judgements(path: Path) -> Iterator[tuple[int, Judgement]]:
    for number, record in json_records(path):
        where = f"{path}:{number}"
        missing = [name for name in ("query-id", "corpus-id", "score") if name not in record]
        if missing:
            raise DataError.of(
                f"the judgement has no {missing[0]!r}",
                where=where,
                hint="it needs query-id, corpus-id and score",
            )
        qid, docno = _id(record["query-id"], "query", where), _id(record["corpus-id"], "document", where)
        yield number, Judgement(qid, docno, _gain(record["score"], where))


# -- columns --------------------------------------------------------------------------------------------------------------------


def _tab_documents(path: Path) -> Iterator[tuple[int, Document]]:
    width = 0
    for number, columns in _columns(path):
        width = width or len(columns)
        if len(columns) != width or width not in (2, 3):
            expected = (
                f"{width} as the first line has" if width in (2, 3) else "2 (id, text) or 3 (id, title, text)"
            )
            message = f"the line has {len(columns)} tab-separated columns, not {expected}"
            raise DataError.of(
                message, where=f"{path}:{number}", hint="replace tabs within titles and texts by spaces"
            )
        docno = check_id(columns[0], "document", f"{path}:{number}")
        yield number, Document(docno, columns[1] if width == 3 else "", columns[-1])


def _tab_topics(path: Path) -> Iterator[tuple[int, Topic]]:
    for number, columns in _columns(path):
        if len(columns) != 2:
            message = f"the line has {len(columns)} tab-separated columns, not 2 (id, text)"
            raise DataError.of(message, where=f"{path}:{number}", hint="replace tabs within texts by spaces")
        yield number, Topic(check_id(columns[0], "query", f"{path}:{number}"), columns[1])


def _columns(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines(path):
        if line.strip():
            yield number, line.split("\t")


def _column_judgements(path: Path) -> Iterator[tuple[int, Judgement]]:
    width = 0
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        columns = line.split("\t")
        if width == 0 and columns[0].strip().lower() in ("query-id", "query_id", "qid"):
            width = len(columns)  # a header
            continue
        if len(columns) not in (3, 4):  # TREC's files have spaces; tabs allow ids with spaces
            columns = line.split()
        width = width or len(columns)
        if len(columns) != width or width not in (3, 4):
            message = f"the line has {len(columns)} columns{f', not {width}' if width in (3, 4) else ''}"
            hint = "a judgement is 'query-id <tab> corpus-id <tab> score' (BEIR) or 'query-id 0 docno relevance' (TREC)"
            raise DataError.of(message, where=where, hint=hint)
        qid, docno = (
            check_id(columns[0].strip(), "query", where),
            check_id(columns[-2].strip(), "document", where),
        )
        yield number, Judgement(qid, docno, _gain(columns[-1].strip(), where))


def _gain(value: Any, where: str) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        gain = int(value)
    except (TypeError, ValueError) as error:
        raise DataError.of(
            f"the relevance {value!r} is not an integer", where=where, hint="gains are integers: 0, 1, 2, ..."
        ) from error
    if not -(2**31) <= gain < 2**31:
        raise DataError.of(
            f"the relevance {gain} does not fit 32 bits", where=where, hint="gains are small integers"
        )
    return gain
