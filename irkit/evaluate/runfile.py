"""TREC run files: what irkit's rankings look like to every other tool.

``qid Q0 docno rank score tag``, after a header of comment lines that hold YAML, as ir_metadata
(https://www.ir-metadata.org) has it.

Columns are divided by white space, yet some collections (LIMIT) have ids with spaces. So white space, control
characters and ``%`` in an id are written as percent-encoded UTF-8 (``Geneva%20Durben``), and so is a ``#``
that begins a query id. When reading, an id is decoded; where the collection lacks the decoded id but has the
id as it is written, that one is meant: files of other tools, which encode nothing, read well too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, TextIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from irkit.core.errors import DataError, Problem
from irkit.core.files import replacing
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings, offsets_of

_START, _END = "# ir_metadata.start", "# ir_metadata.end"
_UNSAFE = re.compile(r"[\s%\x00-\x20\x7f-\xa0\ufeff\ud800-\udfff]|^#")
_MAX_PROBLEMS = 10
_TOO_LARGE = 2.0**128 - 2.0**103  # from here on a number is rounded to infinity, not to the largest float32


class _Docs(Protocol):
    def docno(self, code: int) -> str: ...
    def code(self, docno: str) -> int | None: ...


class HasDocuments(Protocol):
    """What is needed of a collection: its documents' ids and its queries' ids."""

    @property
    def docs(self) -> _Docs:
        """The documents."""
        ...

    @property
    def queries(self) -> Queries:
        """The queries."""
        ...


@dataclass(frozen=True)
class RunFile:
    """A run file, read: rankings of all queries of the collection (empty without a line), tag, header."""

    rankings: Rankings
    tag: str
    header: dict[str, Any]


def write_run(
    path: Path,
    rankings: Rankings,
    collection: HasDocuments,
    *,
    tag: str = "irkit",
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write rankings of the collection's queries. The file appears whole or not at all.

    Scores have 9 significant digits, which give back the same float32, so the same order. Ranks begin at 1.

    Args:
        path: the file; its folder must exist.
        rankings: aligned with the collection's queries.
        collection: gives the ids.
        tag: the last column; white space in it becomes ``_``.
        header: metadata, as plain YAML values (ir_metadata's groups are ``platform``, ``implementation``,
            ``resources``, ``research goal``, ``data``, ``method``); ``tag`` is added.

    Raises:
        DataError: when the file cannot be written, or an id is empty.
        ValueError: when the rankings are not of the collection's queries.
    """
    if len(rankings) != len(collection.queries):
        raise ValueError(
            f"rankings of {len(rankings)} queries do not belong to {len(collection.queries)} queries"
        )
    try:
        with replacing(path) as file:
            _write(file, rankings, collection, "_".join(tag.split()) or "irkit", header or {})
    except OSError as error:
        raise DataError.of(
            f"the run file cannot be written: {error.strerror}",
            where=str(path),
            hint="check the folder, its permissions and the disk",
        ) from error


def _write(
    file: TextIO, rankings: Rankings, collection: HasDocuments, tag: str, header: Mapping[str, Any]
) -> None:
    file.writelines(f"{line}\n" for line in _header_lines({"tag": tag, **header}))
    docnos: dict[int, str] = {}
    for code in np.unique(rankings.doc).tolist():
        docnos[code] = encode_id(collection.docs.docno(code))
    for qid, (docs, scores) in zip(collection.queries.qid, rankings, strict=True):
        query = encode_id(qid)
        hits = zip(docs.tolist(), scores.tolist(), strict=True)
        file.writelines(
            f"{query} Q0 {docnos[doc]} {rank} {score:.9g} {tag}\n"
            for rank, (doc, score) in enumerate(hits, 1)
        )


def read_run(path: Path, collection: HasDocuments) -> RunFile:
    """Read a run file. The scores decide the order, ties are broken canonically, the rank column is ignored.

    Raises:
        DataError: for a file that cannot be read, with file and line of the first problems: too few columns,
            a score that is not finite, a query or document that the collection lacks, a document twice in one
            query.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 ({error})"
        raise DataError.of(f"the run file cannot be read: {reason}", where=str(path)) from error
    lines = text.split("\n")
    header = _read_header(path, lines)
    rows: dict[str, int] = {qid: row for row, qid in enumerate(collection.queries.qid)}
    query_of = _Ids(rows.get)
    doc_of = _Ids(collection.docs.code)
    hits: list[dict[int, float]] = [{} for _ in rows]
    problems: list[Problem] = []
    tag = ""
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        columns = line.split(None, 5)
        if len(columns) < 6:
            fault = f"{len(columns)} columns", "a line of a run file is: qid Q0 docno rank score tag"
        else:
            qid, _, docno, _, number_text, tag = columns
            row, code, score = query_of[qid], doc_of[docno], _score(number_text)
            if row is None:
                fault = f"the collection has no query {qid!r}", "is the run of another collection or split?"
            elif code is None:
                fault = f"the collection has no document {docno!r}", "is the run of another collection?"
            elif score is None:
                fault = f"{number_text!r} is not a finite score", "a score is a number that float32 can hold"
            elif code in hits[row]:
                fault = (
                    f"document {docno!r} appears again for query {qid!r}",
                    "keep one line for each document",
                )
            else:
                hits[row][code] = score
                continue
        problems.append(Problem(fault[0], f"{path}:{number}", fault[1]))
        if len(problems) == _MAX_PROBLEMS:
            break
    if problems:
        raise DataError(*problems)
    docs = np.fromiter((doc for found in hits for doc in found), np.int32)
    scores = np.fromiter((score for found in hits for score in found.values()), np.float32)
    return RunFile(
        Rankings.build(offsets_of([len(found) for found in hits]), docs, scores), tag.strip(), header
    )


def encode_id(text: str) -> str:
    """Return an id as it stands in a run file.

    Raises:
        DataError: for an empty id: no run file can hold it.
    """
    if not text:
        raise DataError.of(
            "an empty id cannot be written to a run file", hint="give the document or query an id"
        )
    return _UNSAFE.sub(
        lambda match: quote_from_bytes(match[0].encode("utf-8", "surrogatepass"), safe=""), text
    )


def decode_id(text: str) -> str:
    """Return the id that ``encode_id`` wrote as ``text``; other text stays as it is."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text


class _Ids(dict[str, "int | None"]):
    """Numbers of ids as written in a file, looked up once each."""

    def __init__(self, find: Callable[[str], int | None]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, written: str) -> int | None:
        decoded = self._find(decode_id(written))
        self[written] = self._find(written) if decoded is None else decoded
        return self[written]


def _score(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < _TOO_LARGE else None


def _header_lines(header: Mapping[str, Any]) -> Iterator[str]:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = False, 10_000, True
    text = StringIO()
    yaml.dump(dict(header), text)
    yield _START
    yield from (f"# {line}".rstrip() for line in text.getvalue().splitlines())
    yield _END


def _read_header(path: Path, lines: list[str]) -> dict[str, Any]:
    if not lines or lines[0].rstrip() != _START:
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    end = next((number for number, line in enumerate(lines) if line.rstrip() == _END), None)
    if end is None:
        raise DataError.of(
            "the header has no end", where=f"{path}:1", hint=f"close it with a line {_END!r}, or remove it"
        )
    try:
        header = YAML(typ="safe", pure=True).load("\n".join(line[2:] for line in lines[1:end]))
    except YAMLError as error:
        hint = "write YAML behind '# ', or remove the header"
        raise DataError.of(f"the header is not YAML: {error}", where=f"{path}:1", hint=hint) from error
    return header if isinstance(header, dict) else {}
