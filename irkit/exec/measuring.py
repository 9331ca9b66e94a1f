"""Measuring pipelines: every stage loaded and run for the clock's sake. Nothing is read from the store's results or added to them.

A query is run as ``irkit search`` runs it, so the check of what a stage returns is in its time. Stages and pipelines are timed in
one state: every query has run before, alone and among all of the sample, and times stood still.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.check import run_stage
from irkit.exec.resources import Memory, Peaks
from irkit.exec.results import Result, join
from irkit.exec.timing import Meter, NodeTiming, Sample, Timing, evenly, undisturbed
from irkit.models.flops import counting
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.stage import Batch, Stage

REPEATS = 3
"""How often all of the sample is run in one go; the median counts."""
FLOP_QUERIES = 5
"""From whose operations the mean of a query is taken, evenly spaced over the sample: counting slows torch down."""


class Measurement:
    """Measures one pipeline, its nodes in the order of the graph, each on what those before it gave; then the whole."""

    def __init__(self, context: Context, end: Node, sample: Sample, meter: Meter | None = None) -> None:
        """Load nothing yet.

        Args:
            context: of the collection; each stage gets notes and counts of its own.
            end: the pipeline's last node.
            sample: the queries.
            meter: the clock.
        """
        self._context, self._end, self._sample = context, end, sample
        self._meter = meter or Meter()
        self._states: dict[Stage, tuple[Any, Context]] = {}
        self._alone: dict[Node, dict[int, Result]] = {}
        self.memory_by = ""
        """Where peaks of memory come from: :attr:`~irkit.exec.resources.Memory.by`; known when it has run."""

    def run(self) -> tuple[dict[Node, NodeTiming], Timing]:
        """Measure.

        Returns:
            the nodes, inputs first, and the pipeline from the query's text to its last ranking. The pipeline's memory is what the
            process grew by from before its first stage was prepared.
        """
        peaks = Peaks()
        self.memory_by = peaks.by
        nodes: dict[Node, NodeTiming] = {}
        for node in self._end.walk():
            with peaks.stretch() as memory:
                nodes[node] = self._node(node, memory)
        with peaks.stretch():
            whole = self._whole()
        return nodes, replace(whole, memory=peaks.total, device_memory=peaks.device)

    # -- inside -----------------------------------------------------------------------------------------------------------------

    def _node(self, node: Node, memory: Memory) -> NodeTiming:
        timed, warm = self._sample
        prepared = node.stage in self._states
        cold = 0.0 if prepared else self._prepare(node.stage)
        _, context = self._states[node.stage]
        alone = self._alone[node] = {}
        with undisturbed():
            first_row = (warm or timed)[0]
            first_ms, alone[first_row] = self._meter.time(
                lambda: self._run(node, self._given(node, first_row))
            )
            for row in warm[1:]:
                alone[row] = self._run(node, self._given(node, row))
            context.counts.clear()
            for row in timed:
                alone[row] = self._run(node, self._given(node, row))
            counts = dict(context.counts)
            batch = self._together(node)
            result = self._in_chunks(
                node, batch
            )  # a warm-up too: other shapes are compiled for other batches
            given = {row: self._given(node, row) for row in (*warm, *timed)}
            warming = self._meter.warm(lambda row: self._run(node, given[row]), warm)
            each = self._meter.each(lambda row: self._run(node, given[row]), timed)
            throughput = self._throughput(lambda: self._in_chunks(node, batch))
        own = join([([place], alone[row]) for place, row in enumerate(timed)], self._queries(timed))
        return NodeTiming(
            each,
            warming,
            throughput,
            memory.grown(),
            memory.device_grown(),
            cold_seconds=cold,
            prepared=prepared,
            first_ms=first_ms,
            differing=differing(own, result),
            flops=self._flops(node),
            counts=counts,
            notes=dict(context.notes),
        )

    def _whole(self) -> Timing:
        """Time the pipeline; its memory is to be seen by others."""
        timed, warm = self._sample
        alone = {row: self._queries([row]) for row in (*warm, *timed)}
        together = self._queries(timed)
        with undisturbed():
            warming = self._meter.warm(lambda row: self._pipeline(alone[row]), warm)
            each = self._meter.each(lambda row: self._pipeline(alone[row]), timed)
            throughput = self._throughput(lambda: self._pipeline(together))
        return Timing(each, warming, throughput, memory=0, device_memory=None)

    def _throughput(self, work: Callable[[], object]) -> float | None:
        took = median(self._meter.time(work)[0] for _ in range(REPEATS))
        return 1000 * len(self._sample.timed) / took if took > 0 else None

    def _prepare(self, stage: Stage) -> float:
        context = replace(self._context, notes={}, counts=Counter())
        took, state = self._meter.time(lambda: stage.prepare(context))
        self._states[stage] = state, context
        return took / 1000

    def _run(self, node: Node, batch: Batch) -> Result:
        return run_stage(node.stage, batch, self._states[node.stage][0], self._context.collection.docs)

    def _in_chunks(self, node: Node, batch: Batch) -> Result:
        size, total = node.stage.chunk, len(batch.queries)
        if total <= size:
            return self._run(node, batch)
        parts = []
        for start in range(0, total, size):
            rows = list(range(start, min(start + size, total)))
            some = Batch(batch.queries.take(rows), tuple(each.take(rows) for each in batch.upstream))
            parts.append((rows, self._run(node, some)))
        return join(parts, batch.queries)

    def _pipeline(self, queries: Queries) -> Result:
        results: dict[Node, Result] = {}
        for node in self._end.walk():
            seen = results[node.queries] if node.queries else queries
            upstream = tuple(results[each] for each in node.upstream)
            results[node] = self._in_chunks(node, Batch(seen, upstream))  # type: ignore[arg-type]
        return results[self._end]

    def _given(self, node: Node, row: int) -> Batch:
        """Return what a node is given for one query."""
        queries = self._alone[node.queries][row] if node.queries else self._queries([row])
        return Batch(queries, tuple(self._alone[each][row] for each in node.upstream))  # type: ignore[arg-type, misc]

    def _together(self, node: Node) -> Batch:
        """Return what a node is given for all of the sample."""
        rows = self._sample.timed
        source = self._queries(rows)

        def joined(before: Node) -> Any:
            return join([([place], self._alone[before][row]) for place, row in enumerate(rows)], source)

        queries = joined(node.queries) if node.queries else source
        return Batch(queries, tuple(joined(each) for each in node.upstream))

    def _queries(self, rows: Sequence[int]) -> Queries:
        return self._context.collection.queries.take(list(rows))

    def _flops(self, node: Node) -> float | None:
        """Return the operations of a query that torch counts; None where it does not do the work."""
        if "torch" not in sys.modules:
            return None
        rows = evenly(self._sample.timed, FLOP_QUERIES)
        with counting() as flops:
            for row in rows:
                self._run(node, self._given(node, row))
        return flops.total / len(rows) if flops.total else None


def differing(one: Result, other: Result) -> int:
    """Return for how many queries two results have other documents, or another order of them; of queries, another text."""
    if isinstance(one, Rankings) and isinstance(other, Rankings):
        return sum(
            not np.array_equal(ours, theirs) for (ours, _), (theirs, _) in zip(one, other, strict=True)
        )
    if isinstance(one, Queries) and isinstance(other, Queries):
        return sum(ours != theirs for ours, theirs in zip(one.text, other.text, strict=True))
    raise TypeError("results of two kinds")
