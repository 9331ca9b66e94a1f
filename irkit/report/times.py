"""What the stages cost, as rows to print: which came from the store, and which are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irkit.report.results import Results, StageTime
from irkit.stages.query.feedback import CHANGED, KEPT


@dataclass(frozen=True)
class StageRow:
    """One stage of one pipeline.

    Attributes:
        shared_with: the pipeline that has the same node in an earlier row, so that its cost was paid once.
        prepare_share: the length of the bar's first part, 0 to 1 of the longest row of all.
        run_share: of the second part.
    """

    time: StageTime
    shared_with: str | None
    prepare_share: float
    run_share: float

    @property
    def cached(self) -> str:
        """``all``, ``some`` or ``none`` of the queries came from the store."""
        if self.time.queries and self.time.cached_queries >= self.time.queries:
            return "all"
        return "some" if self.time.cached_queries else "none"

    @property
    def per_query(self) -> float | None:
        """Seconds of work per query that was computed; None when their number is not known, or zero."""
        timed = self.time.timed_queries
        if timed is None:
            timed = self.time.queries - self.time.cached_queries  # nothing is known of an earlier run
        return self.time.seconds / timed if timed > 0 else None

    @property
    def notes(self) -> dict[str, str]:
        """What was decided, as text. A shared stage's notes stand in the first of its rows alone."""
        if self.shared_with:
            return {}
        return {key: said(value) + _gated(value) for key, value in self.time.notes.items()}


@dataclass(frozen=True)
class PipelineTime:
    """The stages of one pipeline on one collection, in order."""

    pipeline: str
    rows: tuple[StageRow, ...]

    @property
    def seconds(self) -> float:
        """Of its stages, at what they cost when they were computed; one that stands twice counts once."""
        once = (row.time for row in self.rows if row.shared_with != self.pipeline)
        return sum(time.seconds + time.prepare_seconds for time in once)


@dataclass(frozen=True)
class CollectionTime:
    """The pipelines on one collection."""

    collection: str
    pipelines: tuple[PipelineTime, ...]

    @property
    def has_shared(self) -> bool:
        """Whether any stage is shared between pipelines."""
        return any(row.shared_with for pipeline in self.pipelines for row in pipeline.rows)


def stage_times(results: Results) -> list[CollectionTime]:
    """Return the stages by collection and pipeline, in the order of the experiment."""
    longest = max((t.seconds + t.prepare_seconds for t in results.stages), default=0.0) or 1.0
    names = [collection.name for collection in results.collections]
    tables = []
    for collection in dict.fromkeys([*names, *(time.collection for time in results.stages)]):
        here = [time for time in results.stages if time.collection == collection]
        owner: dict[str, str] = {}
        pipelines = []
        for pipeline in dict.fromkeys([*results.pipelines, *(time.pipeline for time in here)]):
            times = sorted((t for t in here if t.pipeline == pipeline), key=lambda time: time.position)
            if not times:
                continue
            rows = []
            for time in times:
                shared = owner.get(time.node) if time.node else None
                if time.node:
                    owner.setdefault(time.node, pipeline)
                rows.append(StageRow(time, shared, time.prepare_seconds / longest, time.seconds / longest))
            pipelines.append(PipelineTime(pipeline, tuple(rows)))
        if pipelines:
            tables.append(CollectionTime(collection, tuple(pipelines)))
    return tables


def _gated(counts: Any) -> str:
    """Say when the gate of a feedback stage decided nothing, by what it counted over all queries; nothing of any other note."""
    if not isinstance(counts, dict) or counts.keys() != {KEPT, CHANGED} or not any(counts.values()):
        return ""
    if all(counts.values()):
        return ""
    which = "every" if counts[CHANGED] else "no"
    return f": it let {which} query through; its threshold was chosen for BM25's scores and cosines"


def said(value: Any) -> str:
    """Return a JSON value as a person says it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {said(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value))
    return str(value)
