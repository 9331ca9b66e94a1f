"""The clock: which queries are timed, how work is timed, and how it is run before until its times stand still."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple, TypeVar

from irkit.exec.resources import synchronise

LEAST, LEAST_SECONDS = 2000, 2.0
"""Runs, or seconds of them, before work counts as warm: Java compiles what Lucene does in steps. BM25 among 100 short documents
came from 3.7 ms a query to 0.74 after 100 runs, 0.66 after 500, 0.43 after 2000, where it stayed."""
PASS = 50
"""Runs at least whose median is compared with that of the runs before."""
STEADY, STEADY_MS = 0.05, 0.02
"""By how much, as a share or in milliseconds, two medians may differ that are the same."""
WARM_SECONDS = 10.0
"""After so long warming up ends, however the times still change: slow pipelines have no such numbers to spare."""
ENOUGH = 20
"""Times whose halves can be compared."""

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
    timed = evenly(range(total), count)
    chosen = set(timed)
    others = [row for row in range(total) if row not in chosen]
    size = min(warmup, len(others))
    return Sample(timed, evenly(others, size) + [timed[number % count] for number in range(warmup - size)])


def evenly(rows: Sequence[int], count: int) -> list[int]:
    """Return ``count`` of some rows, at even distances; all of them where there are no more."""
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


@dataclass(frozen=True)
class Warming:
    """How work was run before it was timed.

    Attributes:
        runs: how often.
        steady: whether its times stood still then.
    """

    runs: int
    steady: bool


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

    def warm(self, work: Callable[[int], object], rows: Sequence[int]) -> Warming:
        """Run work on some rows, pass after pass, until the median time of a pass differs from that before by less than 5 %.

        No row, no run. Every row is run once; then it ends when the times stand still after ``LEAST`` runs or
        ``LEAST_SECONDS``, or when ``WARM_SECONDS`` are over.
        """
        if not rows:
            return Warming(0, steady=False)
        one_pass = list(rows) * -(-PASS // len(rows))
        runs, spent, before = 0, 0.0, None
        while True:
            times = []
            for row in one_pass:
                times.append(self.time(lambda row=row: work(row))[0])  # type: ignore[misc]
                runs, spent = runs + 1, spent + times[-1]
                if spent >= 1000 * WARM_SECONDS and runs >= len(rows):
                    return Warming(runs, steady=False)
            now = median(times)
            least = runs >= LEAST or spent >= 1000 * LEAST_SECONDS
            if least and before is not None and abs(now - before) <= max(STEADY * before, STEADY_MS):
                return Warming(runs, steady=True)
            before = now

    def each(self, work: Callable[[int], object], rows: Sequence[int]) -> list[float]:
        """Return the milliseconds of every row, in the order of ``rows``.

        They are run in another: those at even places first. So the first half of the time has rows from everywhere, and so has
        the second: see :attr:`Timing.drift`.
        """
        taken = [0.0] * len(rows)
        for place in [*range(0, len(rows), 2), *range(1, len(rows), 2)]:
            taken[place], _ = self.time(lambda place=place: work(rows[place]))  # type: ignore[misc]
        return taken


@dataclass(frozen=True)
class Timing:
    """How long a stage or a pipeline takes.

    Attributes:
        each: milliseconds of every query of the sample, run alone.
        warming: what was run before.
        throughput: queries a second with all of the sample in one go, in batches of at most the stage's ``chunk``.
        memory: growth of the process's peak resident memory, bytes.
        device_memory: growth of the peak that torch allocates on CUDA devices, bytes; None without one.
    """

    each: list[float]
    warming: Warming
    throughput: float | None
    memory: int
    device_memory: int | None

    @property
    def drift(self) -> float | None:
        """The median of the queries that were timed in the second half, as a multiple of that of the first; None for few."""
        if len(self.each) < ENOUGH:
            return None
        first, second = median(self.each[::2]), median(self.each[1::2])
        return second / first if first > 0 else None


@dataclass(frozen=True)
class NodeTiming(Timing):
    """How long one node takes.

    Attributes:
        cold_seconds: of ``prepare``.
        prepared: whether an equal stage of the pipeline was prepared before, so that there was nothing to do.
        first_ms: the first query after it.
        differing: queries of the sample whose documents, or text, are others in one go than alone.
        flops: a query, as torch counts them; None where it counts none.
        counts: what the stage counted while it ran every query of the sample once.
        notes: what the stage decided.
    """

    cold_seconds: float = 0.0
    prepared: bool = False
    first_ms: float = 0.0
    differing: int = 0
    flops: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def undisturbed() -> Iterator[None]:
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
