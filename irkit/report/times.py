"""What the stages cost, as rows to print: which came from the store, and which are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irkit.report.results import Results, StageTime


@dataclass(frozen=True)
class StageRow:
    """One stage of one pipeline.

    Attributes:
        shared_with: the pipeline that has the same node in an earlier row, so that its cost was paid once.
    """

    time: StageTime
    shared_with: str | None

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
        return {key: said(value) for key, value in self.time.notes.items()}


def stage_times(results: Results) -> list[StageRow]:
    """Return the stages by collection and pipeline, in the order of the experiment, and of a pipeline in that of their work."""
    names = [collection.name for collection in results.collections]
    rows = []
    for collection in dict.fromkeys([*names, *(time.collection for time in results.stages)]):
        here = [time for time in results.stages if time.collection == collection]
        owner: dict[str, str] = {}
        for pipeline in dict.fromkeys([*results.pipelines, *(time.pipeline for time in here)]):
            times = sorted((t for t in here if t.pipeline == pipeline), key=lambda time: time.position)
            for time in times:
                rows.append(StageRow(time, owner.get(time.node) if time.node else None))
                if time.node:
                    owner.setdefault(time.node, pipeline)
    return rows


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
