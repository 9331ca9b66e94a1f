"""Measuring pipelines: every stage loaded and run for the clock's sake. Nothing is read from the store's results or added to them.

A query is run as ``irkit search`` runs it, so the check of what a stage returns is in its time.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.exec.check import run_stage
from irkit.exec.resources import Memory, Peaks, synchronise
from irkit.exec.results import Result, join
from irkit.models.flops import counting
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.stage import Batch, Stage

REPEATS = 3
"""How often all of the sample is run in one go; the median counts."""
_FLOP_QUERIES = 5
"""From whose operations the mean of a query is taken: counting slows torch down."""

_Made = TypeVar("_Made")


class Sample(NamedTuple):
    """Rows of a collection's queries: those that are timed, and those that are run before, to warm up."""

    timed: list[int]
    warm: list[int]


def sample_of(total: int, queries: int, warmup: int) -> Sample:
    """Choose queries, evenly spaced over the collection's: ``queries`` to be timed, and ``warmup`` others.

    Where the collection has fewer, all of it is timed; where it has no others, timed ones warm up too.
    """
    count = min(queries, total)
    timed = [number * total // count for number in range(count)]
    chosen = set(timed)
    others = [row for row in range(total) if row not in chosen]
    size = min(warmup, len(others))
    warm = [others[number * len(others) // size] for number in range(size)]
    return Sample(timed, warm + [timed[number % count] for number in range(warmup - size)])


@dataclass(frozen=True)
class Meter:
    """Times work: the accelerator idle before and after, and no garbage collected meanwhile.

    Attributes:
        clock: nanoseconds.
        synchronise: waits until the accelerator is idle.
    """

    clock: Callable[[], int] = time.perf_counter_ns
    synchronise: Callable[[], None] = synchronise

    def time(self, work: Callable[[], _Made]) -> tuple[float, _Made]:
        """Return the milliseconds that some work takes, and what it makes."""
        self.synchronise()
        started = self.clock()
        made = work()
        self.synchronise()
        return (self.clock() - started) / 1e6, made


@dataclass(frozen=True)
class Timing:
    """How long a stage or a pipeline takes.

    Attributes:
        each: milliseconds of every query of the sample, run alone.
        throughput: queries a second with all of the sample in one go, in batches of at most the stage's ``chunk``.
        memory: growth of the process's peak resident memory, bytes.
        device_memory: growth of the peak that torch allocates on CUDA devices, bytes; None without one.
    """

    each: list[float]
    throughput: float | None
    memory: int
    device_memory: int | None


@dataclass(frozen=True)
class NodeTiming(Timing):
    """How long one node takes.

    Attributes:
        cold_seconds: of ``prepare``.
        prepared: whether an equal stage of the pipeline was prepared before, so that there was nothing to do.
        first_ms: the first query after it.
        differing: queries of the sample whose documents, or text, are others in one go than alone.
        flops: a query, as torch counts them; None where it counts none.
        counts: what the stage counted while the queries were timed.
        notes: what the stage decided.
    """

    cold_seconds: float = 0.0
    prepared: bool = False
    first_ms: float = 0.0
    differing: int = 0
    flops: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


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
        if len(nodes) == 1:
            only = nodes[self._end]
            return nodes, Timing(only.each, only.throughput, peaks.total, peaks.device)
        with peaks.stretch():
            each, throughput = self._whole()
        return nodes, Timing(each, throughput, peaks.total, peaks.device)

    # -- inside -----------------------------------------------------------------------------------------------------------------

    def _node(self, node: Node, memory: Memory) -> NodeTiming:
        timed, warm = self._sample
        prepared = node.stage in self._states
        cold = 0.0 if prepared else self._prepare(node.stage)
        _, context = self._states[node.stage]
        alone = self._alone[node] = {}
        with _undisturbed():
            first_row = (warm or timed)[0]
            first_ms, alone[first_row] = self._meter.time(
                lambda: self._run(node, self._given(node, first_row))
            )
            for row in warm[1:]:
                alone[row] = self._run(node, self._given(node, row))
            context.counts.clear()
            each = []
            for row in timed:
                given = self._given(node, row)
                took, alone[row] = self._meter.time(lambda given=given: self._run(node, given))  # type: ignore[misc]
                each.append(took)
            counts = dict(context.counts)
            batch = self._together(node)
            result = self._in_chunks(
                node, batch
            )  # a warm-up too: other shapes are compiled for other batches
            throughput = self._throughput(lambda: self._in_chunks(node, batch))
        own = join([([place], alone[row]) for place, row in enumerate(timed)], self._queries(timed))
        return NodeTiming(
            each,
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

    def _whole(self) -> tuple[list[float], float | None]:
        timed, warm = self._sample
        with _undisturbed():
            for row in warm:
                self._pipeline(self._queries([row]))
            each = []
            for row in timed:
                queries = self._queries([row])
                each.append(self._meter.time(lambda queries=queries: self._pipeline(queries))[0])  # type: ignore[misc]
            queries = self._queries(timed)
            return each, self._throughput(lambda: self._pipeline(queries))

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
        rows = self._sample.timed[:_FLOP_QUERIES]
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


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector still, and what there is out of its sight."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()
