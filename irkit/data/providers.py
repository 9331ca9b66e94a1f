"""irkit's own collections as ir-datasets sees them: after :func:`register`, ``ir_datasets.load("irkit/limit-small")`` works.

They are kept as irkit keeps them, below ``$IR_DATASETS_HOME/irkit``: mapped files, no pickle. Importing this module imports
ir-datasets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import ir_datasets
import numpy as np
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery, TrecQrel
from ir_datasets.indices import Docstore
from ir_datasets.util import apply_sub_slice, home_path, slice_idx

from irkit.data import limit, local, synthetic
from irkit.data.collection import Collection
from irkit.data.docstore import DocStore
from irkit.data.open import open_collection
from irkit.data.source import EXCLUDED
from irkit.store import Store


class IrkitDoc(NamedTuple):
    """A document: an id, a title that may be empty, and a text."""

    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        """Return "title text"."""
        return f"{self.title} {self.text}" if self.title and self.text else self.title or self.text


def register() -> None:
    """Register the names with ir-datasets; a second call changes nothing."""
    if set(limit.NAMES) <= set(ir_datasets.registry):
        return
    for name in limit.NAMES:
        ir_datasets.registry.register(name, _dataset(name))
    for pattern in (f"^{re.escape(synthetic.NAME)}(\\?.*)?$", f"^{re.escape(local.PREFIX)}(.+)$"):
        ir_datasets.registry.register_pattern(pattern, lambda name, _groups: _dataset(name))


def _dataset(name: str) -> Any:
    opened = _Opened(name)
    return Dataset(_Docs(opened), _Queries(opened), _Qrels(opened))


class _Opened:
    """The collection, opened at first use: a registered name costs nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def collection(self) -> Collection:
        return open_collection(self.name, Store(home_path() / "irkit"), base=Path.cwd())


class _Iter:
    """Documents in the order of the source; slices and items as ir-datasets' own iterators have them."""

    def __init__(self, docs: DocStore, codes: Any, part: slice) -> None:
        self._docs, self._codes, self._part = docs, codes, part
        self._rest = iter(range(part.start, part.stop, part.step or 1))

    def __iter__(self) -> Iterator[IrkitDoc]:
        return self

    def __next__(self) -> IrkitDoc:
        return IrkitDoc(*self._docs.document(int(self._codes[next(self._rest)])))

    def __getitem__(self, key: int | slice) -> IrkitDoc | _Iter:
        if isinstance(key, slice):
            return _Iter(self._docs, self._codes, apply_sub_slice(self._part, key))
        part = _Iter(self._docs, self._codes, slice_idx(self._part, key))
        found = next(part, None)
        if found is None:
            raise IndexError(key)
        return found


class _Store(Docstore):  # type: ignore[misc]
    """Random access by id."""

    def __init__(self, docs: DocStore) -> None:
        super().__init__(IrkitDoc, "doc_id")
        self._docs = docs
        self._order = docs.source_order()

    def built(self) -> bool:
        return True

    def build(self) -> None:
        """Do nothing: it is built when the collection is."""

    def count(self) -> int:
        return len(self._docs)

    def __len__(self) -> int:
        return len(self._docs)

    def __iter__(self) -> _Iter:
        return _Iter(self._docs, self._order, slice(0, len(self._docs), 1))

    def get_many_iter(self, doc_ids: Iterable[str]) -> Iterator[IrkitDoc]:
        for docno in doc_ids:
            code = self._docs.code(docno)
            if code is not None:
                yield IrkitDoc(*self._docs.document(code))


class _Docs(BaseDocs):  # type: ignore[misc]
    def __init__(self, opened: _Opened) -> None:
        self._opened = opened

    def docs_iter(self) -> _Iter:
        return iter(self.docs_store())

    def docs_store(self, field: str = "doc_id", options: object = None) -> _Store:
        return _Store(self._opened.collection.docs)

    def docs_cls(self) -> type[IrkitDoc]:
        return IrkitDoc

    def docs_count(self) -> int:
        return len(self._opened.collection.docs)

    def docs_namespace(self) -> str:
        return self._opened.name

    def docs_lang(self) -> str | None:
        return None if self._opened.name.startswith(local.PREFIX) else "en"


class _Queries(BaseQueries):  # type: ignore[misc]
    def __init__(self, opened: _Opened) -> None:
        self._opened = opened

    def queries_iter(self) -> Iterator[Any]:
        queries = self._opened.collection.queries
        return (GenericQuery(qid, text) for qid, text in zip(queries.qid, queries.text, strict=True))

    def queries_cls(self) -> type[Any]:
        return GenericQuery  # type: ignore[no-any-return]

    def queries_namespace(self) -> str:
        return self._opened.name

    def queries_lang(self) -> str | None:
        return None if self._opened.name.startswith(local.PREFIX) else "en"


class _Qrels(BaseQrels):  # type: ignore[misc]
    def __init__(self, opened: _Opened) -> None:
        self._opened = opened

    def qrels_iter(self) -> Iterator[Any]:
        collection = self._opened.collection
        known, unknown = len(collection.docs), collection.qrels.unknown
        for number, qid in enumerate(collection.queries.qid):
            doc, gain = collection.qrels[number]
            for code, value in zip(doc.tolist(), gain.tolist(), strict=True):
                docno = collection.docs.docno(code) if code < known else unknown[code - known]
                yield TrecQrel(qid, docno, value, "0")
            excluded = (
                collection.queries.exclude[number] if collection.queries.exclude else np.zeros(0, np.int32)
            )
            for docno in collection.docs.docnos(excluded):
                yield TrecQrel(qid, docno, EXCLUDED, "0")

    def qrels_cls(self) -> type[Any]:
        return TrecQrel  # type: ignore[no-any-return]

    def qrels_defs(self) -> dict[int, str]:
        return {1: "relevant", 0: "judged, not relevant", EXCLUDED: "excluded for this query"}
