"""Texts that were written before, read from a file."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from irkit.core.errors import DataError
from irkit.core.text import well_formed

By = Literal["id", "text"]

IDS = ("_id", "id", "qid", "query_id", "docno", "doc_id")
QUERIES = ("query", "query_text", "question")
TEXTS = ("texts", "generated", "passages", "passage", "reasoning", "text")
"""The fields of a JSON object that are looked for, the first that is there counts."""


def read_texts(path: Path, by: By, field: str | None) -> dict[str, list[str]]:
    """Read the texts of every query (or document): ``.jsonl``, ``.json``, ``.tsv``, each also with ``.gz`` behind.

    A line of JSONL is an object with an id, or a query for ``by: text``, and a text or a list of texts; ``.json`` is a list of such
    objects, or one object of texts (or lists of them) by id or query; a line of TSV is an id or query, a tabulator, and a text.
    A query with several lines has several texts.

    Args:
        path: of the file.
        by: whether texts belong to ids, or to queries of this text.
        field: of the objects, with dots for fields of fields: ``metadata.reasoning``. The first of :data:`TEXTS` unless given.

    Raises:
        DataError: when the file cannot be read, naming the line.
    """
    names = IDS if by == "id" else QUERIES
    found: dict[str, list[str]] = {}
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            for place, owner, texts in _entries(path, file, names, field):
                if not texts or not any(text.strip() for text in texts):
                    raise _bad(path, place, "there is no text")
                found.setdefault(owner, []).extend(texts)
    except (OSError, EOFError) as error:
        message = f"the file of texts cannot be read: {getattr(error, 'strerror', None) or error}"
        raise DataError.of(message, where=str(path), hint="check llm.file") from error
    except UnicodeDecodeError as error:
        raise DataError.of(
            f"this is not UTF-8: {error}", where=str(path), hint="save the file as UTF-8"
        ) from error
    return found


def missing(texts: Mapping[str, Sequence[str]], wanted: Sequence[str], path: Path) -> DataError | None:
    """Return the error that some have no text in the file, which names the first of them; None where all have."""
    lacking = [name for name in wanted if name not in texts]
    if not lacking:
        return None
    named = ", ".join(repr(name if len(name) <= 60 else f"{name[:60]}...") for name in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    return DataError.of(
        f"the file has no text for {named}{more}",
        where=str(path),
        hint=f"add them, or say by what its {len(texts)} entries are to be found: llm: {{by: id}} or {{by: text}}",
    )


def _entries(
    path: Path, file: TextIO, names: Sequence[str], field: str | None
) -> Iterator[tuple[int, str, list[str]]]:
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind == ".jsonl":
        for number, line in enumerate(file, 1):
            if line.strip():
                yield (number, *_object(path, number, _json(path, number, line), names, field))
    elif kind == ".json":
        yield from _whole(path, _json(path, 1, file.read()), names, field)
    elif kind == ".tsv":
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if len(row) == 2:
                yield number, row[0], [row[1]]
            elif row:
                raise _bad(path, number, f"the line has {len(row)} columns, not id and text")
    else:
        raise DataError.of(
            f"files of texts end in .jsonl, .json or .tsv, not {kind!r}",
            where=str(path),
            hint="rename the file after its form",
        )


def _whole(
    path: Path, whole: Any, names: Sequence[str], field: str | None
) -> Iterator[tuple[int, str, list[str]]]:
    if isinstance(whole, dict):
        for number, (owner, value) in enumerate(whole.items(), 1):
            yield number, owner, _texts(path, number, value)
    elif isinstance(whole, list):
        for number, entry in enumerate(whole, 1):
            yield (number, *_object(path, number, entry, names, field))
    else:
        raise _bad(path, 1, "this is neither a list of objects nor an object of texts")


def _json(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(path, number, f"this is not JSON: {error}") from error


def _object(
    path: Path, number: int, entry: Any, names: Sequence[str], field: str | None
) -> tuple[str, list[str]]:
    if not isinstance(entry, dict):
        raise _bad(path, number, "this is no object")
    owner = next((entry[name] for name in names if name in entry), None)
    if not isinstance(owner, str | int) or isinstance(owner, bool):
        raise _bad(path, number, f"the object has none of {', '.join(names)}")
    if field is None:
        value = next((entry[name] for name in TEXTS if name in entry), None)
        said = f"none of {', '.join(TEXTS)}; llm.field names another"
    else:
        value, said = entry, f"no {field!r}"
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        raise _bad(path, number, f"the object has {said}")
    return str(owner), _texts(path, number, value)


def _texts(path: Path, number: int, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _bad(path, number, "this is neither a text nor a list of texts")
    return [well_formed(text) for text in texts]


def _bad(path: Path, number: int, message: str) -> DataError:
    return DataError.of(
        message, where=f"{path}:{number}", hint='a line is such as {"id": "1", "texts": ["..."]}'
    )
