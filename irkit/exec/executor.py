"""The executor: computes what the store does not have, query by query, chunk by chunk, and keeps it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from irkit.core.explanation import Explains, Explanation
from irkit.core.flow import flow
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.check import run_stage
from irkit.exec.explanations import explanations
from irkit.exec.keys import Namer, part_of
from irkit.exec.results import Result, gather, join, read_result, write_result
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node, merged
from irkit.pipeline.options import changed, defaults
from irkit.pipeline.stage import Batch, Stage
from irkit.store import Artifact, Build, Recipe

_COST = "cost.json"


@dataclass(frozen=True)
class Cost:
    """What it took to compute the results of a node.

    Attributes:
        seconds: of ``run``, over the ``computed`` queries.
        prepare_seconds: of ``prepare``: models loaded, indexes opened or built.
        computed: how many queries were computed; the others came from earlier results.
        notes: what the stage decided: device, dtype, batch size.
        counts: what the stage counted on the computed queries.
    """

    seconds: float = 0.0
    prepare_seconds: float = 0.0
    computed: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds,
            self.prepare_seconds + other.prepare_seconds,
            self.computed + other.computed,
            {**self.notes, **other.notes},
            {
                name: self.counts.get(name, 0) + other.counts.get(name, 0)
                for name in self.counts | other.counts
            },
        )

    def told(self) -> dict[str, Any]:
        """Return the notes and the counts, those of one group together."""
        told: dict[str, Any] = {}
        for name, count in self.counts.items():
            group, _, one = name.rpartition("/")
            if group:
                told.setdefault(group, {})[one] = count
            else:
                told[name] = count
        return {**self.notes, **told}


@dataclass(frozen=True)
class Trace:
    """One node's results in the store.

    Attributes:
        cost: of making them, when they were made.
        queries: how many queries they cover.
        stored: how many of them the store had before this run.
        artifact_bytes: of the indexes and vectors that the stage reads when it runs.
    """

    cost: Cost
    queries: int
    stored: int
    artifact_bytes: int


class Executor:
    """Computes nodes on one collection. Every result is in the store before anything is made of it."""

    def __init__(self, context: Context, ends: Sequence[Node]) -> None:
        """Prepare to compute ``ends`` (the last nodes of pipelines) and whatever they need."""
        self.context = context
        self.namer = Namer(context)
        self.nodes = merged(ends)
        self._results: dict[Node, Result] = {}
        self._fresh: Counter[Node] = Counter()
        self._states: dict[Stage, tuple[Any, Context]] = {}
        self._uses = Counter(node.stage for node in self.namer.pending(ends))

    def recipe(self, node: Node) -> Recipe:
        """Return the recipe under which the node's results are stored."""
        return self.namer.recipe(node)

    def artifact(self, node: Node) -> Artifact:
        """Return the node's results as they are stored, computed if need be."""
        recipe = self.recipe(node)
        found = self.context.store.find(recipe)
        if found is None:
            found = self.context.store.get(recipe, lambda build: self._compute(node, build))
            explanations(self, node)  # while its model is loaded
            self._release(node.stage)
        return found

    def rankings(self, node: Node) -> Rankings:
        """Return the node's rankings over all the collection's queries."""
        result = self._result(node)
        if not isinstance(result, Rankings):
            raise TypeError(f"{node.stage.name!r} produces queries, not rankings")
        return result

    def queries(self, node: Node) -> Queries:
        """Return all the collection's queries as a query stage changed them."""
        result = self._result(node)
        if not isinstance(result, Queries):
            raise TypeError(f"{node.stage.name!r} produces rankings, not queries")
        return result

    def traces(self) -> Iterator[tuple[Node, Trace]]:
        """Yield the cost of every node whose results are stored."""
        for node in self.nodes:
            artifact = self.context.store.find(self.recipe(node))
            if artifact is not None:
                meta, queries = artifact.meta, int(artifact.meta["queries"])
                yield (
                    node,
                    Trace(Cost(**meta["cost"]), queries, queries - self._fresh[node], meta["artifact_bytes"]),
                )

    def explain(self, node: Node, rows: Sequence[int], top: int) -> list[list[Explanation]]:
        """Have a node's stage explain its best results for some queries, by their rows.

        Raises:
            TypeError: when the stage cannot explain itself.
        """
        stage = node.stage
        if not isinstance(stage, Explains):
            raise TypeError(f"{stage.name!r} does not explain its results")
        queries, upstream = self._inputs(node)
        loaded = stage in self._states
        state, *_ = self._prepare(stage)
        found = []
        for row in rows:
            before = upstream[0][row]
            seen = stage.explain(queries.text[row], before, state, top)
            found.append([each.after(before[0]) for each in seen])
        if not loaded and self._uses[stage] <= 0:
            self._states.pop(stage)
        return found

    # -- inside -----------------------------------------------------------------------------------------------------------------

    def _result(self, node: Node) -> Result:
        if node not in self._results:
            try:
                result = read_result(self.artifact(node).path, self.context.collection.queries)
            except FileNotFoundError:  # removed between finding and reading, by `irkit store gc`: once more
                result = read_result(self.artifact(node).path, self.context.collection.queries)
            self._results[node] = result
        return self._results[node]

    def _compute(self, node: Node, build: Build) -> dict[str, Any]:
        """Write the node's results: gathered from earlier artifacts, and the missing queries computed.

        A finished chunk is a shard of the build, so the run after a killed one finds it. The node's lock is held meanwhile;
        inputs take theirs after it, so locks follow the graph.
        """
        keys, source = self.namer.query_keys, self.context.collection.queries
        parts = gather(self.context.store.siblings(self.recipe(node)), keys, source)
        known = {row for rows, _ in parts for row in rows}
        missing = [row for row in range(len(keys)) if row not in known]
        cost = Cost()
        with self.context.progress.task(label_of(node), len(keys), len(known)) as advance:
            for rows in (
                _chunks(missing, node.stage.chunk) if keys else [[]]
            ):  # only the stage knows its queries' columns
                name = part_of([keys[row] for row in rows])
                shard = build.shard(name, partial(self._chunk, node, rows))
                parts.append((rows, read_result(shard, source.take(rows))))
                cost += Cost(**json.loads((shard / _COST).read_text(encoding="utf-8")))
                advance(len(rows))
        write_result(build.path(""), join(parts, source), keys)
        return {
            "queries": len(keys),
            "cost": asdict(cost),
            "artifact_bytes": self._artifact_bytes(node.stage),
        }

    def _chunk(self, node: Node, rows: list[int], folder: Path) -> None:
        """Compute some queries, and write their results and what they cost."""
        queries, upstream = self._inputs(node)
        state, context, prepare_seconds = self._prepare(node.stage)
        context.counts.clear()  # equal stages share a state
        started = time.perf_counter()
        batch = Batch(queries.take(rows), tuple(each.take(rows) for each in upstream))
        result = run_stage(node.stage, batch, state, self.context.collection.docs)
        seconds = time.perf_counter() - started
        cost = Cost(seconds, prepare_seconds, len(rows), dict(context.notes), dict(context.counts))
        self._fresh[node] += len(rows)
        folder.mkdir()
        write_result(folder, result, [self.namer.query_keys[row] for row in rows])
        (folder / _COST).write_text(json.dumps(asdict(cost)), encoding="utf-8")

    def _inputs(self, node: Node) -> tuple[Queries, list[Rankings]]:
        """Return what a node sees: the queries, and the rankings that it works on."""
        queries, *upstream = (
            [self._result(each) for each in node.inputs]
            if node.queries
            else [self.context.collection.queries, *map(self._result, node.inputs)]
        )
        return queries, upstream  # type: ignore[return-value]

    def _prepare(self, stage: Stage) -> tuple[Any, Context, float]:
        """Return what ``prepare`` made, the stage's context, and the seconds it took now: 0 when it had been done."""
        if stage in self._states:
            return *self._states[stage], 0.0
        context = replace(self.context, notes={}, counts=Counter())
        started = time.perf_counter()
        self._states[stage] = stage.prepare(context), context
        return *self._states[stage], time.perf_counter() - started

    def _release(self, stage: Stage) -> None:
        """Forget a stage's models once no node still needs them."""
        self._uses[stage] -= 1
        if self._uses[stage] <= 0:
            self._states.pop(stage, None)

    def _artifact_bytes(self, stage: Stage) -> int:
        found = (self.context.store.find(recipe) for recipe in stage.opens(self.context))
        return sum(artifact.bytes for artifact in found if artifact)


def label_of(node: Node) -> str:
    """Return a few words that tell a node from its like: the stage and the options that differ from the defaults."""
    stage = node.stage
    options = stage.model_dump(mode="json", include=set(stage.meaning()))
    told = ", ".join(f"{name}={flow(value)}" for name, value in changed(options, defaults(type(stage))))
    return f"{stage.name} ({told})" if told else stage.name


def _chunks(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
