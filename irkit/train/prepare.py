"""From a recipe to its examples: collections are opened, queries made, negatives mined, all scored by a teacher. The only part that
needs Java or faiss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from irkit.api.workspace import Workspace
from irkit.core.errors import DataError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.spec import split_of
from irkit.data.tasks_views import BODY_WORDS, body_of
from irkit.train.examples import Example, Examples
from irkit.train.recipe import Recipe
from irkit.train.sources.asked import Asked, asked_of
from irkit.train.sources.documents import Documents, body_digests, others, whole_digests
from irkit.train.sources.options import DataSource, Negatives
from irkit.train.sources.written import round_trip
from irkit.train.teacher.scores import taught


def prepare(recipe: Recipe, workspace: Workspace) -> Examples:
    """Gather the queries of every source, mine their negatives, have them scored, and hold some out.

    A held-out query is drawn with all that share its text; one with a single relevant document with all such of that document,
    judged or generated, whatever source they come from: what is held out asks for documents that no other such query asked for.

    Raises:
        DataError: when a source gives no query.
    """
    documents = Documents()
    queries: list[Example] = []
    units: list[str] = []
    origin: list[dict[str, Any]] = []
    taken: dict[str, int] = {}
    for place, source in enumerate(recipe.data):
        collection = workspace.open(source.collection)
        gathered = asked_of(collection, source, recipe.seed, workspace)
        asked, facts = gathered.queries, gathered.facts
        if source.bodies:
            asked, facts = _of_bodies(collection, asked, facts)
        label = f"{collection.name} {source.task}{'' if source.titles else ' without titles'}"
        taken[label] = taken.get(label, 0) + 1
        label = label if taken[label] == 1 else f"{label} ({taken[label]})"
        found = _mined(recipe, source, collection, asked, workspace)
        if source.task == "generated" and found is not None:
            asked, found, lost = _found_again(source, collection, asked, found)
            facts = {**facts, "skipped": {**facts["skipped"], "its document is not found": lost}}
        negatives = _negatives(recipe, source, collection, found, asked)
        for query, mined in zip(asked, negatives, strict=True):
            positives, wrong = (
                tuple(_number(documents, place, source, collection, code, text) for code in codes)
                for codes, text in ((query.relevant, query.answer), (mined, None))
            )
            queries.append(Example(query.text, positives, wrong, label))
            units.append(query.unit)
        origin.append(
            {
                "task": label,
                "collection": collection.name,
                "split": split_of(source.collection),
                "fingerprint": collection.fingerprint,
                "queries": len(asked),
                "generated": source.task != "queries",
                **facts,
            }
        )
    held = _held(queries, units, recipe)
    queries = [replace(query, held=unit in held) for query, unit in zip(queries, units, strict=True)]
    if all(query.held for query in queries):
        hint = "take more queries, or validation: {share: ...} smaller"
        raise DataError.of("nothing is left to train on", where=recipe.name, hint=hint)
    places = [list(each) for each in documents.places]
    whence: dict[str, Any] = {"sources": origin, "places": places, "groups": documents.groups}
    if recipe.teacher is not None:
        queries, whence["teacher"] = taught(recipe.teacher, documents, queries, workspace)
    return Examples(documents.texts(), queries, recipe.to_data(), whence)


def _of_bodies(
    collection: Collection, asked: list[Asked], facts: dict[str, Any]
) -> tuple[list[Asked], dict[str, Any]]:
    """Leave relevant documents out whose bodies are too short to be read without their titles, and queries that have no other.

    Raises:
        DataError: when no query is left.
    """
    digest = body_digests(collection)
    kept = [
        query._replace(relevant=good)
        for query in asked
        if (good := tuple(code for code in query.relevant if query.answer or digest(code)))
    ]
    if not kept:
        message = f"no query has a relevant document with {BODY_WORDS} words beside its title"
        raise DataError.of(message, where=collection.name, hint="leave titles: false out")
    lost = {"without titles too short": len(asked) - len(kept)} if len(kept) < len(asked) else {}
    return kept, {**facts, **({"skipped": {**facts.get("skipped", {}), **lost}} if lost else {})}


def _number(
    documents: Documents, place: int, source: DataSource, collection: Collection, code: int, text: str | None
) -> int:
    """Return the number of a document as its source reads it: whole, or its body, or the part that answers the query."""
    if not source.bodies:
        return documents.whole(place, collection, code)
    return documents.part(body_of(collection.docs, code) if text is None else text, collection, code)


def _mined(
    recipe: Recipe, source: DataSource, collection: Collection, asked: Sequence[Asked], workspace: Workspace
) -> Rankings | None:
    """Return the rankings of the queries by the recipe's pipeline; the store keeps those of judged queries."""
    if recipe.pipeline is None:
        return None
    if source.task == "queries":
        _, found = workspace.rankings(recipe.pipeline, source.collection)
        return found.take([query.row for query in asked])
    return workspace.searcher(recipe.pipeline, collection)(Queries.of([query.text for query in asked]))


def _found_again(
    source: DataSource, collection: Collection, asked: list[Asked], found: Rankings
) -> tuple[list[Asked], Rankings, int]:
    """Keep the written queries whose document the pipeline finds; return how many were dropped, too.

    Raises:
        DataError: when none is left.
    """
    rows = round_trip(found, [query.relevant[0] for query in asked], source.keep_rank)
    if not rows:
        message = f"of {len(asked)} written queries none finds its document among the best {source.keep_rank}"
        hint = "set keep_rank higher, or take another writer"
        raise DataError.of(message, where=collection.name, hint=hint)
    return [asked[row] for row in rows], found.take(rows), len(asked) - len(rows)


def _negatives(
    recipe: Recipe,
    source: DataSource,
    collection: Collection,
    found: Rankings | None,
    asked: Sequence[Asked],
) -> list[list[int]]:
    """Return the codes of each query's negatives. A copy of a document that a made query asks for is none, as it is read."""
    if found is None:
        return [[] for _ in asked]
    options = recipe.negatives or Negatives()
    digest = body_digests(collection) if source.bodies else whole_digests(collection)
    mined = []
    for row, query in enumerate(asked):
        codes = found[row][0][options.skip : options.depth]
        left = codes[~np.isin(codes, query.relevant)].tolist()
        if source.task != "queries" or source.bodies:
            left = others(left, query.relevant, digest)
        mined.append(left[: options.keep])
    return mined


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
