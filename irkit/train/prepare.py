"""From a recipe to its examples: collections are opened, queries made, negatives mined, all scored by a teacher. The only part that
needs Java or faiss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
from irkit.train.sources.documents import Documents, Reading, digests, others, part_of, whole_of
from irkit.train.sources.mined import Mined, mined
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
        read = part_of(collection, source, recipe.seed) if source.bodies else whole_of(collection)
        if source.bodies:
            asked, facts = _of_bodies(collection, asked, facts, read)
        label = f"{collection.name} {source.task}{'' if source.titles else ' without titles'}"
        taken[label] = taken.get(label, 0) + 1
        label = label if taken[label] == 1 else f"{label} ({taken[label]})"
        found = _mined(recipe, source, collection, asked, workspace)
        if source.task == "generated" and found is not None:
            asked, found, lost = _found_again(source, collection, asked, found)
            facts = _skipped(facts, {"its document is not found": lost})
        lists = _lists(recipe, source, collection, found, asked, read)
        kept = [(query, each) for query, each in zip(asked, lists, strict=True) if each.positives]
        if not kept:
            message = f"of {len(asked)} queries none finds a relevant document"
            hint = "set negatives.depth higher, or leave negatives.positives out"
            raise DataError.of(message, where=collection.name, hint=hint)
        if len(kept) < len(asked):
            facts = _skipped(facts, {"no relevant document is found": len(asked) - len(kept)})
        for query, each in kept:
            good, wrong, also = (
                tuple(_number(documents, place, source, collection, code, read) for code in codes)
                for codes in (each.positives, each.negatives, each.also)
            )
            queries.append(Example(query.text, good, wrong, label, ahead=tuple(each.ahead), also=also))
            units.append(query.unit)
        origin.append(
            {
                "task": label,
                "collection": collection.name,
                "split": split_of(source.collection),
                "fingerprint": collection.fingerprint,
                "queries": len(kept),
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
    collection: Collection, asked: list[Asked], facts: dict[str, Any], read: Reading
) -> tuple[list[Asked], dict[str, Any]]:
    """Leave relevant documents out whose bodies are too short to be read without their titles, or are copies of another's, and
    queries that have no other.

    Raises:
        DataError: when no query is left.
    """
    digest = digests(read)
    kept = [
        query._replace(relevant=good)
        for query in asked
        if (good := tuple(others(query.relevant, (), digest)))
    ]
    if not kept:
        message = f"no query has a relevant document with {BODY_WORDS} words beside its title"
        raise DataError.of(message, where=collection.name, hint="leave titles: false out")
    lost = len(asked) - len(kept)
    return kept, _skipped(facts, {"without titles too short": lost}) if lost else facts


def _skipped(facts: dict[str, Any], more: dict[str, int]) -> dict[str, Any]:
    return {**facts, "skipped": {**facts.get("skipped", {}), **more}}


def _number(
    documents: Documents, place: int, source: DataSource, collection: Collection, code: int, read: Reading
) -> int:
    """Return the number of a document as its source reads it."""
    if not source.bodies:
        return documents.whole(place, collection, code)
    return documents.part(read(code) or "", collection, code)


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


def _lists(
    recipe: Recipe,
    source: DataSource,
    collection: Collection,
    found: Rankings | None,
    asked: Sequence[Asked],
    read: Reading,
) -> list[Mined]:
    """Part each query's ranking. A copy of a document that a made query asks for is no negative, as it is read or whole."""
    if found is None:
        return [Mined(list(query.relevant), [], [], []) for query in asked]
    copies = [digests(read)] if source.task != "queries" or source.bodies else []
    if source.task == "inverse-cloze":
        copies.append(digests(partial(body_of, collection.docs)))
    options = recipe.negatives or Negatives()
    lists = []
    for row, query in enumerate(asked):

        def fit(codes: list[int], own: Sequence[int] = query.relevant) -> list[int]:
            for digest in copies:
                codes = others(codes, own, digest)
            return codes

        lists.append(mined(found[row][0].tolist(), query.relevant, options, fit))
    return lists


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
