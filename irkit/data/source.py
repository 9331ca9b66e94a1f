"""What every provider of a collection gives: tables of documents, queries and judgements, and what identifies them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from irkit.core.errors import DataError
from irkit.core.text import well_formed
from irkit.data.collection import EvalPolicy
from irkit.data.docstore import Document

EXCLUDED = -100
"""The relevance by which ir-datasets marks a document that a query must never retrieve (BRIGHT)."""

Row = TypeVar("Row")


class Topic(NamedTuple):
    """A query as its source gives it, and the ids of documents it must never retrieve."""

    qid: str
    text: str
    excluded: tuple[str, ...] = ()


class Judgement(NamedTuple):
    """One line of relevance judgements."""

    qid: str
    docno: str
    gain: int


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Records with their places.

    Attributes:
        origin: where the records come from, as an error names it: the path of a file, or the id of a data set.
        rows: starts reading; yields (line number from 1, record).
        total: how many records there are, where that is known beforehand.
    """

    origin: str
    rows: Callable[[], Iterator[tuple[int, Row]]]
    total: int | None = None

    def at(self, line: int) -> str:
        """Return a place as an error names it: ``path:line``."""
        return f"{self.origin}:{line}"

    def near(self, line: int) -> str:
        """Return a place as a warning names it: the file without its folder, for the same content may lie in several folders."""
        return f"{Path(self.origin).name}:{line}"


class Source(ABC):
    """A collection that can be built: what it is made from, and its records."""

    name: str
    """As reports print it."""
    policy: EvalPolicy = EvalPolicy()
    judged_only: bool = False
    """Whether queries without judgements belong to another split and are left out."""
    editable: bool = True
    """Whether the user can correct the source: a repeated judgement is then an error, otherwise a counted warning."""

    @abstractmethod
    def docs_identity(self) -> Mapping[str, Any]:
        """Return, as JSON values, what the documents come from and nothing else: splits of one corpus share it."""

    @abstractmethod
    def topics_identity(self) -> Mapping[str, Any]:
        """Return, as JSON values, what the queries and judgements come from."""

    @abstractmethod
    def docs(self, scratch: Path) -> Table[Document]:
        """Return the documents; a provider that downloads does so below ``scratch``, which survives a crash."""

    @abstractmethod
    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the queries."""

    @abstractmethod
    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the judgements."""


@dataclass
class Oddities:
    """Counts what is odd but usable, by kind, with the first place of each."""

    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, place: str) -> None:
        """Count one more of a kind."""
        count, first = self.found.get(kind, (0, place))
        self.found[kind] = (count + 1, first)


_UNFIT = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


def check_id(value: str, what: str, where: str) -> str:
    """Return an id that a line of a TREC run file can hold. Spaces are allowed: LIMIT's ids are names.

    Raises:
        DataError: for an empty id, or one with a tab, a line end, another control character or an unpaired surrogate.
    """
    if not value:
        raise DataError.of(f"the {what} has no id", where=where, hint="give every record an id of its own")
    unfit = _UNFIT.search(value)
    if unfit:
        message = f"the id {value!r} of the {what} has the character {unfit.group()!r}, which a TREC run file cannot hold"
        raise DataError.of(
            message, where=where, hint="use ids without tabs, line ends and other control characters"
        )
    return value


def clean(text: str, odd: Oddities, place: str) -> str:
    """Return a text that every tokenizer takes: NUL becomes a space and an unpaired surrogate U+FFFD; both are counted."""
    if "\0" in text:
        odd.add("text with NUL characters (each read as a space)", place)
        text = text.replace("\0", " ")
    whole = well_formed(text)
    if whole != text:
        odd.add("text with unpaired surrogates (each read as U+FFFD)", place)
    return whole
