"""The executor: computes what the store does not have, query by query, chunk by chunk, and keeps it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from irkit.core.errors import StoreError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.check import run_stage
from irkit.exec.keys import Namer
from irkit.exec.results import Result, gather, join, read_keys, read_result, write_result
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node, merged
from irkit.pipeline.stage import Batch, Stage
from irkit.store import Artifact, Build, Recipe


@dataclass(frozen=True)
class Trace:
    """What the results of one node cost, when they were computed.

    Attributes:
        seconds: of ``run``, over the ``computed`` queries.
        prepare_seconds: of ``prepare``: models loaded, indexes opened or built.
        queries: how many queries the results cover.
        computed: how many of them were computed then; the others came from earlier results.
        stored: how many of them the store had before this run.
        artifact_bytes: of the indexes and vectors that the stage opens.
        notes: what the stage decided: device, dtype, batch size.
    """

    seconds: float
    prepare_seconds: float
    queries: int
    computed: int
    stored: int
    artifact_bytes: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Executor:
    """Computes nodes on one collection. Every result is in the store before anything is made of it."""

    def __init__(self, context: Context, ends: Sequence[Node]) -> None:
        """Prepare to compute ``ends`` (the last nodes of pipelines) and whatever they need."""
        self.context = context
        self.namer = Namer(context)
        self.nodes = merged(ends)
        self._results: dict[Node, Result] = {}
        self._stored_before: dict[Node, int] = {}
        self._states: dict[Stage, tuple[Any, float, Context]] = {}
        self._uses = Counter(node.stage for node in pending(ends, self.has))

    def has(self, node: Node) -> bool:
        """Whether the store has the node's results for all the collection's queries."""
        return self.context.store.find(self.recipe(node)) is not None

    def recipe(self, node: Node) -> Recipe:
        """Return the recipe under which the node's results are stored."""
        return self.namer.recipe(node)

    def artifact(self, node: Node) -> Artifact:
        """Return the node's results as they are stored, computed if need be."""
        recipe = self.recipe(node)
        found = self.context.store.find(recipe) or self._complete(node, recipe)
        if found.meta.get("chunked"):
            self._drop_chunks(recipe)
        return found

    def rankings(self, node: Node) -> Rankings:
        """Return the node's rankings over all the collection's queries."""
        result = self._result(node)
        if not isinstance(result, Rankings):
            raise TypeError(f"{node.stage.name!r} produces queries, not rankings")
        return result

    def traces(self) -> Iterator[tuple[Node, Trace]]:
        """Yield the cost of every node whose results are stored."""
        for node in self.nodes:
            artifact = self.context.store.find(self.recipe(node))
            if artifact is not None:
                meta = artifact.meta
                queries = int(meta["queries"])
                stored = self._stored_before.get(node, queries)
                yield (
                    node,
                    Trace(
                        meta["seconds"],
                        meta["prepare_seconds"],
                        queries,
                        int(meta["computed"]),
                        stored,
                        meta["artifact_bytes"],
                        dict(meta["notes"]),
                    ),
                )

    # -- inside -----------------------------------------------------------------------------------------------------------------

    @property
    def _source(self) -> Queries:
        return self.context.collection.queries

    def _result(self, node: Node) -> Result:
        if node not in self._results:
            self._results[node] = read_result(self.artifact(node), self._source)
        return self._results[node]

    def _complete(self, node: Node, recipe: Recipe) -> Artifact:
        """Compute the queries that no earlier run has, and store the results of all of them together."""
        inputs = [
            self._result(each) for each in node.inputs
        ]  # before this node's lock is taken: locks follow the graph

        def write(build: Build) -> dict[str, Any]:
            keys = self.namer.query_keys
            siblings = list(self.context.store.siblings(recipe))
            parts = gather(siblings, keys, self._source)
            known = {row for rows, _ in parts for row in rows}
            missing = [row for row in range(len(keys)) if row not in known]
            meta: dict[str, Any] = {"seconds": 0.0, "prepare_seconds": 0.0, "notes": {}}
            if missing or not keys:
                state, meta["prepare_seconds"], context = self._prepare(node.stage)
                with self.context.progress.task(
                    label_of(node), len(keys), len(keys) - len(missing)
                ) as advance:
                    for rows in _chunks(missing, node.stage.chunk):
                        result, seconds = self._run(node, rows, inputs, state)
                        meta["seconds"] += seconds
                        parts.append((rows, result))
                        if len(missing) > node.stage.chunk:
                            self._keep_chunk(node, rows, result)
                        advance(len(rows))
                meta["notes"] = dict(context.notes)
            if not keys:  # only the stage knows what columns its queries have
                parts.append(([], self._run(node, [], inputs, state)[0]))
            write_result(build, join(parts, self._source), keys)
            self._stored_before[node] = len(known)
            meta |= {"queries": len(keys), "computed": len(missing)}
            meta["chunked"] = len(missing) > node.stage.chunk or any(s.meta.get("chunk") for s in siblings)
            return {**meta, "artifact_bytes": self._artifact_bytes(node.stage)}

        artifact = self.context.store.get(recipe, write)
        self._release(node.stage)
        return artifact

    def _run(self, node: Node, rows: list[int], inputs: list[Result], state: Any) -> tuple[Result, float]:
        queries, *upstream = [
            each.take(rows) for each in (inputs if node.queries else [self._source, *inputs])
        ]
        started = time.perf_counter()
        result = run_stage(node.stage, Batch(queries, tuple(upstream)), state, self.context.collection.docs)  # type: ignore[arg-type]
        return result, time.perf_counter() - started

    def _keep_chunk(self, node: Node, rows: list[int], result: Result) -> None:
        """Store the results of a chunk on their own: what a killed run had finished, the next one finds among the siblings."""
        keys = [self.namer.query_keys[row] for row in rows]

        def write(build: Build) -> dict[str, Any]:
            write_result(build, result, keys)
            return {"queries": len(rows), "chunk": True}

        self.context.store.get(self.namer.recipe_for(node, keys), write)

    def _drop_chunks(self, recipe: Recipe) -> None:
        """Remove the chunks, of this run and of killed ones, that the whole makes superfluous."""
        store, held = self.context.store, set(self.namer.query_keys)
        with suppress(StoreError):  # a read-only store is as good for reading
            for sibling in list(store.siblings(recipe)):
                if sibling.meta.get("chunk") and held.issuperset(read_keys(sibling)):
                    store.remove(sibling.path)
            store.tidy(recipe)

    def _prepare(self, stage: Stage) -> tuple[Any, float, Context]:
        if stage not in self._states:
            context = replace(self.context, notes={})
            started = time.perf_counter()
            state = stage.prepare(context)
            self._states[stage] = state, time.perf_counter() - started, context
        return self._states[stage]

    def _release(self, stage: Stage) -> None:
        """Forget a stage's models once no node still needs them."""
        self._uses[stage] -= 1
        if self._uses[stage] <= 0:
            self._states.pop(stage, None)

    def _artifact_bytes(self, stage: Stage) -> int:
        found = (self.context.store.find(recipe) for recipe in stage.artifacts(self.context))
        return sum(artifact.bytes for artifact in found if artifact)


def pending(ends: Sequence[Node], has: Any) -> list[Node]:
    """Return the nodes that must be computed for ``ends``, inputs first: nothing above a node whose results are stored."""
    order: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node in order or has(node):
            return
        for each in node.inputs:
            visit(each)
        order[node] = None

    for end in ends:
        visit(end)
    return list(order)


def label_of(node: Node) -> str:
    """Return a few words that tell a node from its like: the stage and the options that differ from the defaults."""
    options = node.stage.model_dump(mode="json", include=set(node.stage.meaning()), exclude_defaults=True)
    return (
        f"{node.stage.name} ({', '.join(f'{k}={v}' for k, v in options.items())})"
        if options
        else node.stage.name
    )


def _chunks(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
