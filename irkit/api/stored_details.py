"""The details of a run's queries, kept in the store: the same rankings of the same queries are looked into once."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np

from irkit.api import details
from irkit.api.details import CollectionDetails, Source, Track, collection_details
from irkit.api.telling import telling_rows
from irkit.config.report import ReportOptions
from irkit.core import rankings, text
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.evaluate import funnel
from irkit.evaluate.funnel import Way
from irkit.exec.executor import Executor, label_of
from irkit.pipeline.graph import Node
from irkit.report import budget
from irkit.report import details as records
from irkit.report.results import PerQuery
from irkit.store import Build, Recipe

MADE_BY: Final = (funnel, details, budget, records, rankings, text)
"""The code that makes what the store keeps: with another text of it, it is made anew."""
_FILE = "details.json"


def stored_details(
    name: str,
    ends: Mapping[str, Node],
    executor: Executor,
    rows: Sequence[int],
    k: int,
    options: ReportOptions,
) -> CollectionDetails:
    """Return the details of a collection, from the store where it has them: then no ranking is read.

    The store keeps one of each collection and choice of pipelines, the last: it takes a moment to make, and nobody looks at others.

    Args:
        name: what the experiment calls the collection.
        ends: the last node of every pipeline; their results are in the store.
        executor: of the collection.
        rows: the queries to keep, those that tell most first.
        k: the cutoff of the funnels.
        options: how much to keep.
    """
    collection, namer = executor.context.collection, executor.namer

    def known(node: Node) -> bool:
        return namer.has(node) or not namer.missing(node)

    ways = {pipeline: Way.to(end, known) for pipeline, end in ends.items()}
    spec = {"name": name, "collection": collection.fingerprint, "pipelines": list(ways)}
    part = {
        "code": code_of(MADE_BY),
        "ways": {
            pipeline: {
                "steps": [executor.recipe(node).key for node in way.nodes],
                "left_out": [executor.recipe(node).key for node in way.left_out],
            }
            for pipeline, way in ways.items()
        },
        "rows": list(rows),
        "k": k,
        "options": options.model_dump(exclude={"queries", "bytes"}),
    }

    def track(way: Way) -> Track:
        return Track(
            [(node.stage.name, label_of(node)) for node in way.nodes],
            way.inputs,
            lambda: [executor.rankings(node) for node in way.nodes],
            [label_of(node) for node in way.left_out],
            way.unknown,
        )

    def write(build: Build) -> dict[str, Any]:
        queries = collection.queries
        source = Source(
            name=name,
            queries=queries,
            qrels=collection.qrels,
            level=collection.policy.relevance_level,
            docs=collection.docs,
            texts=dict(zip(queries.qid, queries.text, strict=True)),
        )
        found = collection_details(source, {p: track(way) for p, way in ways.items()}, rows, k, options)
        build.path(_FILE).write_text(found.model_dump_json(), encoding="utf-8")
        return {"queries": len(rows)}

    store, recipe = executor.context.store, Recipe("details", spec, fingerprint(part)[:16])
    artifact = store.find(recipe)
    if artifact is None:
        artifact = store.get(recipe, write)
        for other in list(store.siblings(recipe)):
            if other.key != artifact.key:
                store.remove(other.path)
    return CollectionDetails.model_validate_json(artifact.file(_FILE).read_text(encoding="utf-8"))


def code_of(modules: Iterable[ModuleType]) -> str:
    """Return the fingerprint of the texts of some modules."""
    return fingerprint([inspect.getsource(module) for module in modules])


def rows_to_keep(
    per_query: PerQuery,
    queries: Queries,
    judged: Sequence[int],
    metric: str,
    baseline: str | None,
    controls: Container[str],
    count: int,
) -> list[int]:
    """Return the rows of the queries to keep: what was explained and changed, and :func:`~irkit.api.telling.telling_rows`.

    Args:
        per_query: the values of ``metric``, what was explained and what changed.
        queries: the collection's.
        judged: the rows of the queries of ``per_query``.
        metric: what wins and losses are of.
        baseline: what they are against.
        controls: order controls, which say nothing of their own.
        count: how many rows at most, besides what was explained and changed; with 0 there are none at all.
    """
    if not count:
        return []
    values = {
        pipeline: np.asarray(by_metric[metric])
        for pipeline, by_metric in per_query.values.items()
        if pipeline not in controls
    }
    row_of = {qid: row for row, qid in enumerate(queries.qid)}
    always = [
        *(row_of[each.qid] for each in per_query.explained),
        *(row_of[each.qid] for each in per_query.changed),
    ]
    return telling_rows(judged, values, baseline, always, count)
