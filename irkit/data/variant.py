"""A collection of ir-datasets with other queries or judgements: ``bright/biology?queries=gpt4_reason&qrels=fixed/biology.tsv``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from irkit.core.errors import DataError, nearest
from irkit.data import formats
from irkit.data.docstore import Document
from irkit.data.irds import IrdsSource
from irkit.data.source import EXCLUDED, Judgement, Source, Table, Topic
from irkit.store.digests import DigestCache

_OPTIONS = ("queries", "qrels")


class VariantSource(Source):
    """The documents of an id, with the texts of another field of its queries, or with judgements from a file, or both.

    The documents are those of the plain id, and so are their indexes. What the id excludes for a query stays excluded, whatever
    file the judgements come from.
    """

    def __init__(self, name: str, base: Path, digests: DigestCache) -> None:
        """Take ``id?queries=<field>&qrels=<file>`` apart.

        Raises:
            DataError: for another option, an empty one, or a file that does not exist.
        """
        plain, _, asked = name.partition("?")
        options = dict(parse_qsl(asked, keep_blank_values=True))
        for key, value in options.items():
            if key not in _OPTIONS:
                raise DataError.of(f"unknown option {key!r}", where=name, hint=nearest(key, _OPTIONS))
            if not value:
                hint = "queries names a field of ir-datasets' queries, qrels a file of judgements"
                raise DataError.of(f"the option {key!r} is empty", where=name, hint=hint)
        if not options:
            hint = f"write {plain}, or {plain}?queries=<field> or {plain}?qrels=<file>"
            raise DataError.of("nothing stands behind the question mark", where=name, hint=hint)
        self.name, self._plain, self._field = name, IrdsSource(plain), options.get("queries")
        self._file = base / Path(options["qrels"]).expanduser() if "qrels" in options else None
        if self._file and not self._file.is_file():
            hint = "relative paths start at the workspace"
            raise DataError.of("the file of judgements does not exist", where=str(self._file), hint=hint)
        self._digests = digests
        self.policy = self._plain.policy
        self.editable = self._file is not None

    def docs_identity(self) -> Mapping[str, Any]:
        """Return what the plain id's documents are known by."""
        return self._plain.docs_identity()

    def topics_identity(self) -> Mapping[str, Any]:
        """Return the id, the field, and the digest of the file."""
        file = self._digests.sha256(self._file) if self._file else None
        return {**self._plain.topics_identity(), "field": self._field, "qrels": file}

    def docs(self, scratch: Path) -> Table[Document]:
        """Return the plain id's documents."""
        return self._plain.docs(scratch)

    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the plain id's queries, with the texts of the field.

        Raises:
            DataError: when its queries have no such field.
        """
        return self._plain.topics(scratch) if self._field is None else self._plain.texts(self._field)

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the judgements of the file, and before them the id's exclusions; without a file the id's judgements."""
        if self._file is None:
            return self._plain.qrels(scratch)
        ours, theirs = formats.judgements(self._file), self._plain.qrels(scratch)

        def rows() -> Iterator[tuple[int, Judgement]]:
            yield from ((number, row) for number, row in theirs.rows() if row.gain == EXCLUDED)
            yield from ours.rows()

        return Table(ours.origin, rows)
