"""Collections of ir-datasets, by id. ir-datasets is imported when a collection is built, not when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from irkit.core.errors import DataError, DependencyError, nearest
from irkit.data.docstore import Document
from irkit.data.policies import policy_of
from irkit.data.source import Judgement, Source, Table, Topic, check_id


class IrdsSource(Source):
    """A data set of ir-datasets, identified by its id: ir-datasets verifies what it downloads."""

    editable = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy = policy_of(name)

    def docs_identity(self) -> Mapping[str, Any]:
        """Return the id of the set that owns the documents: the splits of one corpus share it.

        Raises:
            DataError: for an unknown id, or a data set without documents, queries or judgements.
        """
        import ir_datasets

        self._load()
        return {"source": "ir-datasets", "id": ir_datasets.docs_parent_id(self.name)}

    def topics_identity(self) -> Mapping[str, Any]:
        """Return the id."""
        return {"source": "ir-datasets", "id": self.name}

    def docs(self, scratch: Path) -> Table[Document]:
        """Return the documents: ``default_text()`` split into the title, where there is one, and the rest."""
        dataset = self._load()
        total = dataset.docs_metadata().get("count") if hasattr(dataset, "docs_metadata") else None
        return self._table("documents", dataset.docs_iter, _document, total)

    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the queries: their ``default_text()``."""
        return self._table("queries", self._load().queries_iter, _topic)

    def texts(self, field: str) -> Table[Topic]:
        """Return the queries with the texts of one of their fields: BRIGHT's ``gpt4_reason``, a description, a narrative.

        Raises:
            DataError: when the queries have no such field.
        """
        dataset = self._load()
        fields = [name for name in dataset.queries_cls()._fields if name != "query_id"]
        if field not in fields:
            raise DataError.of(
                f"the queries have no field {field!r}", where=self.name, hint=nearest(field, fields)
            )

        def convert(record: Any, where: str) -> Topic:
            return Topic(check_id(str(record.query_id), "query", where), str(getattr(record, field) or ""))

        return self._table("queries", dataset.queries_iter, convert)

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the judgements; relevance -100 among them means exclusion."""
        return self._table("qrels", self._load().qrels_iter, _judgement)

    def _load(self) -> Any:
        import ir_datasets

        try:
            dataset = ir_datasets.load(self.name)
        except KeyError as error:
            raise DataError.of("no such collection", where=self.name, hint=_nearest_id(self.name)) from error
        lacking = [kind for kind in ("docs", "queries", "qrels") if not dataset.has(kind)]
        if lacking:
            inner = [name for name in ir_datasets.registry if name.startswith(f"{self.name}/")]
            complete = [
                name
                for name in inner
                if all(ir_datasets.load(name).has(kind) for kind in ("docs", "queries", "qrels"))
            ]
            hint = (
                f"choose one of: {', '.join(sorted(complete)[:12])}"
                if complete
                else "an experiment needs all three"
            )
            raise DataError.of(
                f"the collection has no {' and no '.join(lacking)}", where=self.name, hint=hint
            )
        return dataset

    def _table(
        self,
        what: str,
        start: Callable[[], Iterator[Any]],
        convert: Callable[[Any, str], Any],
        total: int | None = None,
    ) -> Table[Any]:
        origin = f"{self.name} {what}"

        def rows() -> Iterator[tuple[int, Any]]:
            for number, record in zip(count(1), self._reading(start)):
                yield number, convert(record, f"{origin}:{number}")

        return Table(origin, rows, total)

    def _reading(self, start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Iterate, and turn what ir-datasets raises where files, network or packages are missing into help."""
        try:
            yield from start()
        except ImportError as error:
            hint = f"pip install {error.name}" if error.name else None
            raise DependencyError.of(
                f"ir-datasets needs a package: {error}", where=self.name, hint=hint
            ) from error
        except (
            OSError,
            EOFError,
            BadZipFile,
            RuntimeError,
        ) as error:  # what requests raises is an OSError too
            message = f"ir-datasets could not fetch or read it ({type(error).__name__}: {str(error)[:200]})"
            raise DataError.of(message, where=self.name, hint=self._help()) from error

    def _help(self) -> str:
        from ir_datasets.util import home_path

        home = home_path()
        if self.name.startswith("beir/"):
            archive = home / "beir" / self.name.split("/")[1] / "source.zip"
            return (
                f"without network, put BEIR's zip file at {archive}, or name an unpacked folder in the experiment: "
                "{path: my/beir-folder, split: test}"
            )
        return (
            f"without network, copy the ir-datasets folder of a machine that has the collection to {home} "
            "(IR_DATASETS_HOME chooses another place), or name local files: {docs: ..., queries: ..., qrels: ...}"
        )


def register_with_ir_datasets() -> None:
    """Make ``ir_datasets.load`` see irkit's own collections: ``irkit/limit``, ``irkit/limit-synthetic?...``, ``local:<folder>``."""
    from irkit.data.providers import register

    register()


def _nearest_id(name: str) -> str:
    import ir_datasets

    from irkit.data.open import OWN_NAMES

    known = list(ir_datasets.registry)
    below = [other for other in known if other.startswith(f"{name.rsplit('/', 1)[0]}/")]
    hint = nearest(name, [*known, *OWN_NAMES])
    if hint.startswith("choose"):
        hint = (
            f"choose one of: {', '.join(sorted(below)[:12])}"
            if below
            else "the ids are listed at https://ir-datasets.com"
        )
    return f"{hint} A local collection is a mapping: {{path: my/beir-folder, split: test}}"


def _text(record: Any) -> str:
    if hasattr(record, "default_text"):
        return str(record.default_text() or "")
    for field in ("text", "body", "contents", "title"):
        if getattr(record, field, None):
            return str(getattr(record, field))
    return ""


def _document(record: Any, where: str) -> Document:
    docno = check_id(str(record.doc_id), "document", where)
    text, title = _text(record), getattr(record, "title", None)
    if title is None:
        return Document(docno, "", text)
    if not text.startswith(title):  # this set's text leaves the title out
        return Document(docno, "", text)
    rest = text[len(title) :]
    return Document(
        docno, title, rest[1:] if rest[:1].isspace() else rest
    )  # one space or line end stands between them


def _topic(record: Any, where: str) -> Topic:
    return Topic(check_id(str(record.query_id), "query", where), _text(record))


def _judgement(record: Any, where: str) -> Judgement:
    qid, docno = (
        check_id(str(record.query_id), "query", where),
        check_id(str(record.doc_id), "document", where),
    )
    return Judgement(qid, docno, int(record.relevance))
