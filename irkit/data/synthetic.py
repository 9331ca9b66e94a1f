"""A collection of LIMIT's kind, generated: which sets of documents can one vector per document tell apart?

The construction of Weller et al. 2025 (arXiv 2508.21038, section 5): each query asks for one attribute, "Who likes X?", which
exactly k documents have; which k is the pattern. Every document is filled to the same number of attributes with ones that no
query asks for. The words are irkit's own, so scores are comparable within irkit and not with the published LIMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from irkit.core.errors import DataError, IrkitError, Problem, nearest
from irkit.data.docstore import Document
from irkit.data.draws import Draws
from irkit.data.patterns import Pattern, groups, most_groups
from irkit.data.source import Judgement, Source, Table, Topic
from irkit.data.words import words

NAME = "irkit/limit-synthetic"
_GENERATOR = 1  # counts up when the same parameters give another collection
_ATTRIBUTES = 45  # a document's, at least; as in LIMIT
_UNUSED = 848  # attributes no query asks for, at least; LIMIT has 1848 - 1000
_QUERIES = 1000  # by default, at most


class LimitSynthetic(BaseModel):
    """The parameters of the collection, as they stand behind ``irkit/limit-synthetic?``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(46, ge=1, description="Documents that are relevant to something")
    pattern: Pattern = Field("dense", description="Which k of the n documents a query asks for")
    k: int = Field(2, ge=1, description="Relevant documents of each query")
    seed: int = Field(0, ge=0, description="Of names, attributes, and the random pattern")
    queries: int | None = Field(
        None, ge=1, description="How many; by default 1000, or as many as the pattern allows"
    )
    docs: int | None = Field(None, ge=1, description="All documents, n of them relevant; by default n")


class SyntheticSource(Source):
    """The generated collection: no file, no network; the parameters are its identity."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parameters = _parse(name)
        self._check()

    @property
    def n_queries(self) -> int:
        """The number of queries."""
        return self.parameters.queries or min(_QUERIES, self._most)

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        return self.parameters.docs or self.parameters.n

    def docs_identity(self) -> dict[str, Any]:
        """Return the parameters, defaults filled in: other spellings of the same collection are the same collection."""
        made = {"queries": self.n_queries, "docs": self.n_docs}
        return {"source": "limit-synthetic", "generator": _GENERATOR, **self.parameters.model_dump(), **made}

    topics_identity = docs_identity

    def docs(self, scratch: Path) -> Table[Document]:
        """Return the documents; their ids are names of persons."""
        return Table(self.name, lambda: enumerate(self._documents(), 1), self.n_docs)

    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the queries ``query_0``, ``query_1``, ..."""
        asked = self._attributes[0]
        return Table(
            self.name,
            lambda: ((i, Topic(f"query_{i - 1}", f"Who likes {a}?")) for i, a in enumerate(asked, 1)),
        )

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the k judgements, of gain 1, of every query."""
        pairs = ((q, doc) for q, group in enumerate(self._groups) for doc in group)
        rows = [(i, Judgement(f"query_{q}", self._names[doc], 1)) for i, (q, doc) in enumerate(pairs, 1)]
        return Table(self.name, lambda: iter(rows))

    # -- the construction -------------------------------------------------------------------------------------------------------

    def _draws(self, what: str) -> Draws:
        return Draws(f"irkit limit-synthetic {_GENERATOR} {self.parameters.seed} {what}")

    @property
    def _most(self) -> int:
        """How many different groups of documents the pattern has."""
        return most_groups(self.parameters.pattern, self.parameters.n, self.parameters.k)

    @cached_property
    def _groups(self) -> list[tuple[int, ...]]:
        """The relevant documents of every query."""
        p = self.parameters
        return groups(p.pattern, p.n, p.k, self.n_queries, self._draws("pattern"))

    @cached_property
    def _names(self) -> list[str]:
        first, last = words()["first names"], words()["last names"]
        chosen = self._draws("names").sample(range(len(first) * len(last)), self.n_docs)
        return [f"{first[i // len(last)]} {last[i % len(last)]}" for i in chosen]

    @cached_property
    def _attributes(self) -> tuple[list[str], list[str]]:
        """The attributes that queries ask for, and those that only fill. Nouns come first, then "Red Gates" and the like."""
        nouns, pairs = _vocabulary()
        draws = self._draws("attributes")
        draws.shuffle(nouns)
        draws.shuffle(pairs)
        pool = nouns + pairs
        return pool[: self.n_queries], pool[self.n_queries : self.n_queries + max(_UNUSED, self._width)]

    @cached_property
    def _width(self) -> int:
        """How many attributes every document has: enough for the document that most queries ask for."""
        asked = [0] * self.parameters.n
        for doc in chain.from_iterable(self._groups):
            asked[doc] += 1
        return max(_ATTRIBUTES, *asked)

    def _documents(self) -> Iterator[Document]:
        asked, unused = self._attributes
        own: list[list[str]] = [[] for _ in range(self.n_docs)]
        for attribute, group in zip(asked, self._groups, strict=True):
            for doc in group:
                own[doc].append(attribute)
        draws = self._draws("documents")
        for name, attributes in zip(self._names, own, strict=True):
            likes = attributes + draws.sample(unused, self._width - len(attributes))
            draws.shuffle(likes)
            yield Document(name, "", f"{name} likes {', '.join(likes[:-1])} and {likes[-1]}.")

    def _check(self) -> None:
        """Refuse parameters that no collection satisfies."""
        p, lists = self.parameters, words()
        most = len(lists["first names"]) * len(lists["last names"])
        if self.n_docs < p.n:
            raise self._error(
                f"docs={self.n_docs} is less than n={p.n}",
                "docs counts all documents, the n relevant ones included",
            )
        if self.n_docs > most:
            raise self._error(
                f"docs={self.n_docs}, and there are names for {most}", "ask for fewer documents"
            )
        if p.k > p.n:
            raise self._error(f"k={p.k} relevant documents of n={p.n}", "make n at least k")
        if self.n_queries > self._most:
            message = (
                f"queries={self.n_queries}, and the pattern {p.pattern} has {self._most} groups of documents"
            )
            raise self._error(message, "ask for fewer queries, or raise n")
        nouns, pairs = _vocabulary()
        unused = max(_UNUSED, self._width)
        if self.n_queries + unused > (most := len(nouns) + len(pairs)):
            message = f"{self.n_queries} queries and {unused} more attributes to fill {self._width} a document, of {most}"
            raise self._error(message, "ask for fewer queries, or spread them over more documents")

    def _error(self, message: str, hint: str) -> IrkitError:
        return DataError.of(message, where=self.name, hint=hint)


def _vocabulary() -> tuple[list[str], list[str]]:
    lists = words()
    return list(lists["nouns"]), [
        f"{adjective} {thing}" for adjective in lists["adjectives"] for thing in lists["things"]
    ]


def _parse(name: str) -> LimitSynthetic:
    _, _, query = name.partition("?")
    fields = list(LimitSynthetic.model_fields)
    problems, options = list[Problem](), dict[str, str]()
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in fields:
            problems.append(Problem(f"unknown parameter {key!r}", where=name, hint=nearest(key, fields)))
        elif key in options:
            problems.append(Problem(f"the parameter {key!r} is given twice", where=name))
        options[key] = value
    if problems:
        raise DataError(*problems)
    try:
        return LimitSynthetic.model_validate(options)
    except ValidationError as error:
        hint = f"for example {NAME}?n=46&pattern=dense&k=2&seed=0"
        found = [
            Problem(f"{item['loc'][0]}={item['input']!r}: {item['msg']}", where=name, hint=hint)
            for item in error.errors()
        ]
        raise DataError(*found) from error
