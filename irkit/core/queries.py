"""Queries: ids, texts, what each query may not retrieve, and the columns that query stages add."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from irkit.core.fingerprint import canonical
from irkit.core.rankings import CodeArray, row_numbers


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """The queries of a collection or of a search box.

    Attributes:
        qid: the ids, unique.
        text: the texts; a query stage may replace them.
        exclude: per query the codes (``int32``, ascending) of documents it must never retrieve; empty means
            no query excludes any.
        columns: what query stages add: a numpy array whose first axis is the query, or a sequence of JSON
            values, by name.
    """

    qid: tuple[str, ...]
    text: tuple[str, ...]
    exclude: tuple[CodeArray, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.qid)
        if len(self.text) != n or len(self.exclude) not in (0, n):
            raise ValueError(
                f"{n} query ids, {len(self.text)} texts and {len(self.exclude)} exclusion lists "
                "do not fit together"
            )
        if len(set(self.qid)) != n:
            twice = next(qid for qid, count in Counter(self.qid).items() if count > 1)
            raise ValueError(f"query id {twice!r} appears more than once")
        for name, column in self.columns.items():
            if len(column) != n:
                raise ValueError(f"column {name!r} has {len(column)} rows for {n} queries")

    @classmethod
    def of(cls, texts: Sequence[str]) -> Queries:
        """Make queries from texts alone; their ids are "1", "2", ..."""
        return cls(tuple(str(i + 1) for i in range(len(texts))), tuple(texts))

    def __len__(self) -> int:
        return len(self.qid)

    @property
    def max_excluded(self) -> int:
        """The largest number of documents that one query excludes."""
        return max((len(codes) for codes in self.exclude), default=0)

    def take(self, rows: ArrayLike) -> Queries:
        """Return the queries with these numbers, in the order given."""
        index = row_numbers(rows, len(self)).tolist()
        return Queries(
            tuple(self.qid[i] for i in index),
            tuple(self.text[i] for i in index),
            tuple(self.exclude[i] for i in index) if self.exclude else (),
            {
                name: column[index] if isinstance(column, np.ndarray) else [column[i] for i in index]
                for name, column in self.columns.items()
            },
        )

    def with_text(self, texts: Sequence[str]) -> Queries:
        """Replace the texts."""
        return replace(self, text=tuple(texts))

    def with_column(self, name: str, values: Any) -> Queries:
        """Add or replace a column."""
        return replace(self, columns={**self.columns, name: values})

    def keys(self) -> list[str]:
        """Return one digest a query of what its results depend on: text, exclusions, columns; not the id."""
        return [self._key(row) for row in range(len(self))]

    def _key(self, row: int) -> str:
        digest = hashlib.sha256()
        _add(digest, b"text", self.text[row].encode("utf-8", "surrogatepass"))
        if self.exclude and len(self.exclude[row]):
            _add(digest, b"exclude", np.ascontiguousarray(self.exclude[row], dtype="<i4").tobytes())
        for name in sorted(self.columns):
            value = self.columns[name][row]
            _add(digest, b"column", name.encode())
            if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
                array = np.ascontiguousarray(value)
                _add(digest, f"{array.dtype.str}{np.shape(value)}".encode(), array.tobytes())
            else:  # strings too: numpy's dtype of a string knows the longest one of the whole batch
                plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
                _add(digest, b"json", canonical(plain).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:32]


def _add(digest: hashlib._Hash, kind: bytes, data: bytes) -> None:
    """Add a part with its length before it, so that no text can look like two parts."""
    digest.update(kind + b"\0" + len(data).to_bytes(8, "little"))
    digest.update(data)
