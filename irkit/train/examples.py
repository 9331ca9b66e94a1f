"""Training data in one file: texts, which are relevant to which, mined negatives, and what is held out. All that ``fit`` reads."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DataError
from irkit.core.files import write_bytes_atomically
from irkit.core.fingerprint import fingerprint

if TYPE_CHECKING:
    from irkit.models.encoder import Side

FORMAT = 3
POOL = 20_000
"""The most documents that held-out queries are ranked against."""
_COLUMNS = ("text", "positives", "negatives", "task", "held", "scores", "ahead", "also")


@dataclass(frozen=True)
class Example:
    """A query.

    Attributes:
        text: what is asked.
        positives: the numbers of the relevant documents to learn from, in ``Examples.documents``; never empty. What was mined of
            them comes first, best first.
        negatives: those of mined negatives, best first.
        task: the source that it comes from, as reports name it.
        held: whether it is held out of training, for validation.
        scores: what a teacher gave (*positives, *negatives), in this order; nan where it gave nothing. None without a teacher.
        ahead: of each positive that was mined, how many of the negatives it ranks before it.
        also: the numbers of its other relevant documents; they are not learned from, and no negatives.
    """

    text: str
    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()
    task: str = "queries"
    held: bool = False
    scores: tuple[float, ...] | None = None
    ahead: tuple[int, ...] = ()
    also: tuple[int, ...] = ()


@dataclass(frozen=True)
class Examples:
    """The texts of documents, the queries, the recipe that they were prepared for, and where they come from."""

    documents: list[str]
    queries: list[Example]
    recipe: dict[str, Any]
    origin: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of all that is learned from: the texts, where they come from, and what is relevant to what."""
        whence = {name: self.origin.get(name) for name in ("groups", "places")}
        return fingerprint(
            {"documents": self.documents, **whence, "generated": sorted(self.generated), **self._columns()}
        )

    @cached_property
    def generated(self) -> frozenset[str]:
        """The tasks whose queries are generated, not judged."""
        return frozenset(each["task"] for each in self.origin.get("sources", []) if each.get("generated"))

    @cached_property
    def training(self) -> NDArray[np.int64]:
        """The numbers of the queries to train on."""
        return np.array([i for i, query in enumerate(self.queries) if not query.held], np.int64)

    @cached_property
    def held(self) -> NDArray[np.int64]:
        """The numbers of the queries held out."""
        return np.array([i for i, query in enumerate(self.queries) if query.held], np.int64)

    @cached_property
    def relevant(self) -> list[frozenset[int]]:
        """Per query the numbers of its relevant documents, learned from or not, and, where sources read a document in several ways
        (whole, without its title, without a sentence), of those documents read otherwise: they are no negatives of the query's.
        """
        groups = self.origin.get("groups") or list(range(len(self.documents)))
        members: dict[int, list[int]] = {}
        for number, group in enumerate(groups):
            members.setdefault(group, []).append(number)
        return [
            frozenset(n for doc in (*query.positives, *query.also) for n in members[groups[doc]])
            for query in self.queries
        ]

    @cached_property
    def parts(self) -> NDArray[np.bool_]:
        """Whether a document is read without its title, or is another part of one, ``bool[D]``. What a query's documents are
        compared with is to be such as they are.
        """
        return self.forms > 0

    @cached_property
    def forms(self) -> NDArray[np.int64]:
        """How a document is read, ``int64[D]``: 0 whole, 1 without its title, 2 without a sentence, too."""
        places = self.origin.get("places") or [[0, 0]] * len(self.documents)
        return np.array([max(0, -source) for source, _ in places], np.int64)

    @cached_property
    def pool(self) -> NDArray[np.int64]:
        """The numbers of the documents that held-out queries are ranked against: all, or where there are more than ``POOL`` the
        positives and negatives of all held-out queries, and others, evenly spread, up to that number.

        Against their own negatives alone, vectors look good that push just those away, and lose against the rest.
        """
        own = {doc for i in self.held for doc in (*self.queries[i].positives, *self.queries[i].negatives)}
        others = [doc for doc in range(len(self.documents)) if doc not in own]
        room = min(max(0, POOL - len(own)), len(others))
        spread = [others[i * len(others) // room] for i in range(room)]
        return np.array(sorted(own.union(spread)), np.int64)

    def texts(self) -> dict[Side, list[str]]:
        """Return all texts by their side: the queries' and the documents'."""
        return {"query": [query.text for query in self.queries], "document": self.documents}

    def by_task(self, values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
        """Return the means of the held-out queries' values, in the order of ``held``, by task; nan counts as no value."""
        known = ~np.isnan(values)
        tasks, found = (
            np.array([self.queries[row].task for row in self.held])[known],
            np.asarray(values)[known],
        )
        return {task: float(found[tasks == task].mean()) for task in dict.fromkeys(tasks.tolist())}

    def overall(self, scores: Mapping[str, float]) -> float:
        """Return one number for the scores of the sources: judged queries count as much as generated ones, however many sources
        there are of each.
        """
        made = self.generated
        parts = [[scores[task] for task in scores if (task in made) == which] for which in (False, True)]
        return float(np.mean([np.mean(part) for part in parts if part]))

    def save(self, path: Path) -> None:
        """Write the file, ``.json.gz``, whole or not at all; the same examples give the same bytes.

        Raises:
            ReportError: when it cannot be written.
        """
        data = {
            "irkit": "training examples",
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
            "origin": self.origin,
            "documents": self.documents,
            "queries": self._columns(),
        }
        write_bytes_atomically(path, gzip.compress(json.dumps(data).encode(), 6, mtime=0))

    @classmethod
    def load(cls, path: Path) -> Examples:
        """Read a file of examples.

        Raises:
            DataError: when it cannot be read, or is none, or is damaged.
        """
        hint = (
            "make it with: irkit train RECIPE --prepare-only; one that an interrupted run left may be removed"
        )
        try:
            data = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            message = f"the examples cannot be read: {error}"
            raise DataError.of(message, where=str(path), hint=hint) from error
        if not isinstance(data, dict) or data.get("irkit") != "training examples":
            raise DataError.of("the file holds no training examples", where=str(path), hint=hint)
        if data.get("format") != FORMAT:
            message = f"the file has the format {data.get('format')}, this irkit reads {FORMAT}"
            raise DataError.of(message, where=str(path), hint=hint)
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            found = cls(data["documents"], _rows(data["queries"]), data["recipe"], data["origin"])
            if found.fingerprint == data["fingerprint"]:
                return found
        raise DataError.of("the file is not as it was written", where=str(path), hint=hint)

    def _columns(self) -> dict[str, list[Any]]:
        def plain(value: Any) -> Any:
            if not isinstance(value, tuple):
                return value
            return [None if isinstance(each, float) and math.isnan(each) else each for each in value]

        return {name: [plain(getattr(query, name)) for query in self.queries] for name in _COLUMNS}


def _rows(columns: Mapping[str, list[Any]]) -> list[Example]:
    return [
        Example(
            text, tuple(positives), tuple(negatives), task, held, _scores(scores), tuple(ahead), tuple(also)
        )
        for text, positives, negatives, task, held, scores, ahead, also in zip(
            *(columns[c] for c in _COLUMNS), strict=True
        )
    ]


def _scores(values: list[float | None] | None) -> tuple[float, ...] | None:
    """Return scores as they were before JSON, which has no nan."""
    return None if values is None else tuple(math.nan if each is None else float(each) for each in values)
