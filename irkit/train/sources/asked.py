"""The queries of one source, before their documents have numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from irkit.api.workspace import Workspace
from irkit.core.errors import DataError
from irkit.data.collection import Collection
from irkit.data.draws import Draws
from irkit.data.tasks import drawn_codes, make_queries
from irkit.data.tasks_views import cloze_parts, title_parts
from irkit.train.sources.options import PARTS, DataSource
from irkit.train.sources.written import written_queries


class Asked(NamedTuple):
    """A query: codes of its relevant documents, what it is held out by, and its row in the collection or -1."""

    text: str
    relevant: tuple[int, ...]
    unit: str
    row: int = -1


@dataclass(frozen=True)
class AskedOf:
    """The queries of a source, and what there is to tell of them in ``Examples.origin``."""

    queries: list[Asked]
    facts: dict[str, Any] = field(default_factory=dict)


def asked_of(collection: Collection, source: DataSource, seed: int, workspace: Workspace) -> AskedOf:
    """Gather the judged queries of a source, or make queries.

    Raises:
        DataError: when there is none.
    """
    if source.task == "queries":
        return _judged(collection, source, seed)
    barred = _barred(source, workspace)
    if source.made is not None:
        found = _generated(collection, source, seed)
        left = [
            q for q in found.queries if not any(collection.docs.docno(code) in barred for code in q.relevant)
        ]
        excluded = len(found.queries) - len(left)
    else:
        codes = _any_codes(collection, source, seed)
        free = [code for code in codes if collection.docs.docno(code) not in barred] if barred else codes
        found = _made(collection, source, seed, free, workspace)
        left, excluded = found.queries, len(codes) - len(free)
        if free and not left:
            told = ", ".join(f"{count} x {why}" for why, count in found.facts["skipped"].items())
            hint = "take another task, or another collection"
            raise DataError.of(f"no document gives a query: {told}", where=collection.name, hint=hint)
    if not left:
        raise DataError.of("every passage is excluded", where=collection.name, hint="set all_docs: true")
    return AskedOf(left, {**({"excluded": excluded} if source.exclude else {}), **found.facts})


def _judged(collection: Collection, source: DataSource, seed: int) -> AskedOf:
    asked, space = [], collection.docs_fingerprint
    for row, text in enumerate(collection.queries.text):
        codes, gains = collection.qrels[row]
        good = codes[(gains > 0) & (codes < len(collection.docs))]
        if text.strip() and len(good):
            words = " ".join(text.casefold().split())
            unit = f"query {words}" if len(good) > 1 else _unit(space, good[0])
            asked.append(Asked(text, tuple(good.tolist()), unit, row))
    if not asked:
        hint = "choose a split with judgements, or task: keyword with all_docs: true"
        raise DataError.of("no query has a relevant document", where=collection.name, hint=hint)
    if source.queries is not None and source.queries < len(asked):
        draws = Draws(f"irkit train {seed} queries of {collection.name}")
        asked = sorted(draws.sample(asked, source.queries), key=lambda query: query.row)
    return AskedOf(asked)


def _generated(collection: Collection, source: DataSource, seed: int) -> AskedOf:
    """Make queries as ``irkit make-task`` does."""
    options = source.made
    if options is None:
        raise ValueError(source.task)
    made = make_queries(collection, replace(options, seed=seed))
    space = collection.docs_fingerprint
    asked = [
        Asked(q.text, (q.doc, *q.copies), _unit(space, min(q.doc, *q.copies, q.doc))) for q in made.queries
    ]
    return AskedOf(asked, {"skipped": made.skipped})


def _made(
    collection: Collection, source: DataSource, seed: int, codes: list[int], workspace: Workspace
) -> AskedOf:
    """Make queries of the documents that come first."""
    docs, space, skipped = collection.docs, collection.docs_fingerprint, Counter[str]()
    if source.task in PARTS:
        title = source.task == "title"
        parts = title_parts(docs, codes, skipped) if title else cloze_parts(docs, codes, skipped, seed)
        asked = [Asked(q.query, (q.doc,), _unit(space, q.doc)) for q in islice(parts, source.queries)]
        return AskedOf(asked, {"skipped": dict(skipped)})
    written = written_queries(workspace.context(collection), source, seed, codes, skipped)
    asked = [Asked(text, (code,), _unit(space, code)) for code, text in written.queries]
    return AskedOf(asked, {"writer": written.writer, "shots": written.shots, "skipped": dict(skipped)})


def _any_codes(collection: Collection, source: DataSource, seed: int) -> list[int]:
    """Return the codes that queries may be made of, in the order of the draw."""
    draws = Draws(f"irkit train {seed} {source.task} of {collection.docs_fingerprint}")
    return drawn_codes(collection, source.any_document, draws)


def _barred(source: DataSource, workspace: Workspace) -> set[str]:
    """Return the ids of the documents that are relevant in an excluded collection."""
    return {docno for spec in source.exclude for docno in _relevant(workspace.open(spec))}


def _relevant(collection: Collection) -> Iterator[str]:
    qrels, count = collection.qrels, len(collection.docs)
    yield from collection.docs.docnos(np.unique(qrels.doc[(qrels.gain > 0) & (qrels.doc < count)]))


def _unit(space: str, code: int) -> str:
    return f"passage {space} {code}"
