"""Files of the documents that queries must never retrieve."""

from __future__ import annotations

from pathlib import Path

from irkit.core.errors import DataError
from irkit.data.formats import topics
from irkit.data.reading import lines
from irkit.data.source import check_id


def read_exclusions(path: Path) -> dict[str, list[str]]:
    """Return document ids by query id.

    A line is ``query-id <tab> document-id``; without a tab two words divided by spaces. JSON Lines with ``excluded_ids``, as
    BRIGHT's queries have them, are read too. A header ``query-id <tab> corpus-id`` is skipped. The file may be gzip.

    Raises:
        DataError: for a line that is no such pair, and an empty file.
    """
    found: dict[str, list[str]] = {}
    start = next((line.lstrip()[:1] for _, line in lines(path) if line.strip()), "")
    if start == "{":
        for _, topic in topics(path).rows():
            found.setdefault(topic.qid, []).extend(topic.excluded)
    else:
        for number, line in lines(path):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            pair = [part.strip() for part in line.split("\t")] if "\t" in line else line.split()
            if number == 1 and pair[0].lower() in ("query-id", "query_id", "qid"):
                continue
            if len(pair) != 2:
                message = f"the line has {len(pair)} columns, not 2"
                raise DataError.of(message, where=where, hint="a line is: query-id <tab> document-id")
            qid, docno = check_id(pair[0], "query", where), check_id(pair[1], "document", where)
            found.setdefault(qid, []).append(docno)
    if not any(found.values()):
        raise DataError.of(
            "the file excludes nothing", where=str(path), hint="a line is: query-id <tab> document-id"
        )
    return found
