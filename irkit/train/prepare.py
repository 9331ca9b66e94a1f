"""From a recipe to its examples: collections are opened, queries made, negatives mined. The only part that needs Java or faiss."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from irkit.api.workspace import Workspace
from irkit.core.errors import DataError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.draws import Draws
from irkit.data.spec import split_of
from irkit.data.tasks import make_queries
from irkit.train.examples import Example, Examples
from irkit.train.recipe import DataSource, Negatives, Recipe


class _Asked(NamedTuple):
    """A query before its documents have numbers: codes of relevant documents, and what it is held out by."""

    text: str
    relevant: tuple[int, ...]
    unit: str
    row: int


def prepare(recipe: Recipe, workspace: Workspace) -> Examples:
    """Gather the queries of every source, mine their negatives, and hold some out.

    A held-out query is drawn with all that share its text; one with a single relevant document with all such of that document,
    judged or generated, whatever source they come from: what is held out asks for documents that no other such query asked for.

    Raises:
        DataError: when a source gives no query.
    """
    documents: dict[tuple[str, int], int] = {}
    texts: list[str] = []
    queries: list[Example] = []
    units: list[str] = []
    origin: list[dict[str, Any]] = []
    taken: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    for place, source in enumerate(recipe.data):
        collection = workspace.open(source.collection)
        asked, facts = _asked(collection, source, recipe.seed)
        asked, excluded = _without(asked, collection, source, workspace)
        label = f"{collection.name} {source.task}"
        taken[label] = taken.get(label, 0) + 1
        label = label if taken[label] == 1 else f"{label} ({taken[label]})"
        found = _mined(recipe, source, collection, asked, workspace)

        def number(code: int, collection: Collection = collection, place: int = place) -> int:
            key = (collection.docs_fingerprint, code)
            if key not in documents:
                documents[key] = len(texts)
                texts.append(collection.docs.text(code))
                places.append((place, code))
            return documents[key]

        for i, query in enumerate(asked):
            negatives = _negatives(recipe, found, i, query) if found is not None else []
            relevant, mined = (tuple(map(number, codes)) for codes in (query.relevant, negatives))
            queries.append(Example(query.text, relevant, mined, label))
            units.append(query.unit)
        origin.append(
            {
                "task": label,
                "collection": collection.name,
                "split": split_of(source.collection),
                "fingerprint": collection.fingerprint,
                "queries": len(asked),
                "generated": source.made is not None,
                **({"excluded": excluded} if source.exclude else {}),
                **facts,
            }
        )
    held = _held(queries, units, recipe)
    queries = [
        Example(q.text, q.positives, q.negatives, q.task, unit in held)
        for q, unit in zip(queries, units, strict=True)
    ]
    if all(query.held for query in queries):
        hint = "take more queries, or validation: {share: ...} smaller"
        raise DataError.of("nothing is left to train on", where=recipe.name, hint=hint)
    whence = {"sources": origin, "places": [list(each) for each in places]}
    return Examples(texts, queries, recipe.to_data(), whence)


def _asked(collection: Collection, source: DataSource, seed: int) -> tuple[list[_Asked], dict[str, Any]]:
    count = len(collection.docs)
    if source.made is not None:
        from dataclasses import replace

        made = make_queries(collection, replace(source.made, seed=seed))
        space = collection.docs_fingerprint
        asked = [
            _Asked(q.text, (q.doc, *q.copies), f"passage {space} {min(q.doc, *q.copies, q.doc)}", -1)
            for q in made.queries
        ]
        return asked, {"skipped": made.skipped}
    asked = []
    space = collection.docs_fingerprint
    for row, text in enumerate(collection.queries.text):
        codes, gains = collection.qrels[row]
        good = codes[(gains > 0) & (codes < count)]
        if text.strip() and len(good):
            unit = (
                f"query {' '.join(text.casefold().split())}"
                if len(good) > 1
                else f"passage {space} {good[0]}"
            )
            asked.append(_Asked(text, tuple(good.tolist()), unit, row))
    if not asked:
        hint = "choose a split with judgements, or task: keyword with all_docs: true"
        raise DataError.of("no query has a relevant document", where=collection.name, hint=hint)
    if source.queries is not None and source.queries < len(asked):
        draws = Draws(f"irkit train {seed} queries of {collection.name}")
        asked = sorted(draws.sample(asked, source.queries), key=lambda query: query.row)
    return asked, {}


def _without(
    asked: list[_Asked], collection: Collection, source: DataSource, workspace: Workspace
) -> tuple[list[_Asked], int]:
    """Return the queries whose document is relevant in no excluded collection, and how many others there were."""
    barred: set[str] = set()
    for spec in source.exclude:
        other = workspace.open(spec)
        codes = other.qrels.doc[(other.qrels.gain > 0) & (other.qrels.doc < len(other.docs))]
        barred.update(map(other.docs.docno, set(codes.tolist())))
    left = [q for q in asked if not any(collection.docs.docno(code) in barred for code in q.relevant)]
    if not left:
        raise DataError.of("every passage is excluded", where=collection.name, hint="set all_docs: true")
    return left, len(asked) - len(left)


def _mined(
    recipe: Recipe, source: DataSource, collection: Collection, asked: Sequence[_Asked], workspace: Workspace
) -> Rankings | None:
    """Return the rankings of the queries by the recipe's pipeline; the store keeps those of judged queries."""
    if recipe.pipeline is None:
        return None
    if source.task == "queries":
        _, found = workspace.rankings(recipe.pipeline, source.collection)
        return found.take([query.row for query in asked])
    return workspace.searcher(recipe.pipeline, collection)(Queries.of([query.text for query in asked]))


def _negatives(recipe: Recipe, found: Rankings, row: int, query: _Asked) -> list[int]:
    options = recipe.negatives or Negatives()
    codes = found[row][0][options.skip : options.depth]
    return [int(code) for code in codes[~np.isin(codes, query.relevant)][: options.keep]]


def _held(queries: Sequence[Example], units: Sequence[str], recipe: Recipe) -> set[str]:
    """Draw what is held out: of each source a share of its units, those whose digests come first."""

    def digest(unit: str) -> bytes:
        return hashlib.sha256(
            f"irkit train {recipe.seed} held {unit}".encode("utf-8", "surrogatepass")
        ).digest()

    held: set[str] = set()
    for task in dict.fromkeys(query.task for query in queries):
        own = [unit for query, unit in zip(queries, units, strict=True) if query.task == task]
        several = len(own) / len(set(own))
        count = min(round(len(set(own)) * recipe.validation.share), int(recipe.validation.queries / several))
        held.update(sorted(set(own), key=digest)[: max(1, count)])
    return held
