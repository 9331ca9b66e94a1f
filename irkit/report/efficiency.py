"""What pipelines cost when they are measured for it: latency one query at a time, throughput, memory, arithmetic, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from irkit.core.errors import Problem, ReportError
from irkit.core.files import write_atomically
from irkit.report.results import Record, Results, read_record

EFFICIENCY: Final = "efficiency.json"


class Latency(Record):
    """Milliseconds of one query at a time, over ``samples`` queries, after warm-up, the device idle before and after each.

    Percentiles are interpolated linearly: of fewer than 100 samples the 99th lies between the two slowest.
    """

    samples: int
    mean: float
    p50: float
    p95: float
    p99: float


class Build(Record):
    """An index or other artifact that a stage opens."""

    kind: str
    key: str
    """Its name in the store: artifacts with the same one are one."""
    bytes: int
    seconds: float | None
    """Of building it, when that was done. None when not known."""


class StageEfficiency(Record):
    """One node of a pipeline, measured alone on what the nodes before it gave."""

    collection: str
    pipeline: str
    position: int
    stage: str
    label: str
    node: str
    """The fingerprint of the node, as in :class:`~irkit.report.results.StageTime`."""
    cold_seconds: float
    """Of loading models and opening indexes, in a process that had only done so for the stages before it in the pipeline. The
    operating system may have held the files in memory."""
    first_ms: float
    """The first query after that: compilation and caches, which the latency leaves out."""
    latency: Latency
    throughput: float | None
    """Queries a second with all of the sample in one batch. None when that was not measured."""
    flops: float | None = None
    """Floating-point operations a query, counted by torch: two for a multiplication and addition. None where torch does not do
    the work. What it misses, ``notes`` say."""
    tokens: dict[str, float] = Field(default_factory=dict)
    """Tokens a query of a language model, by kind (prompt, completion), where the stage counts them."""
    memory: int | None = None
    """Growth of the process's resident memory in bytes, from before the stage was prepared to its peak. Files that are mapped
    count as far as they were read."""
    device_memory: int | None = None
    """The same of what torch allocates on the accelerator. None without one."""
    builds: list[Build] = Field(default_factory=list)
    differing: int = 0
    """Queries of the sample whose documents, or text, were others in one batch than alone: 0 but for accelerators' rounding."""
    notes: list[str] = Field(default_factory=list)
    """What has to be known to read these figures."""


class PipelineEfficiency(Record):
    """A pipeline from the query's text to its last ranking, all its stages loaded, in a process of its own."""

    collection: str
    pipeline: str
    latency: Latency
    throughput: float | None
    bytes: int
    """Of all artifacts that its stages open, each once."""
    flops: float | None = None
    """Of the stages for which they are known."""
    tokens: dict[str, float] = Field(default_factory=dict)
    """Of all stages."""
    memory: int | None = None
    device_memory: int | None = None
    device: str = "cpu"
    """The accelerator that it used, by the maker's name; ``cpu`` where it used none."""
    load: float | None = None
    """Processes that wanted a processor in the minute before, on average: where it is well above 0, others were at work."""


class Efficiency(Record):
    """What ``efficiency.json`` holds."""

    schema_version: Literal[1] = 1
    experiment: str
    created: str
    """When the last of the measurements ended: ISO 8601, UTC."""
    command: str
    """Of the last measurement."""
    irkit: str
    machine: str
    device: str
    """The accelerators that were used; ``cpu`` for none."""
    threads: int
    queries: int
    """Of the sample, per collection; ``samples`` are fewer where the collection is smaller."""
    warmup: int
    """Queries that were run and not counted, before each measurement."""
    memory_by: str
    """``VmHWM``: set back before every stage, so that each peak is its own; ``ru_maxrss``: not, so that a stage which stays below
    an earlier peak shows 0."""
    isolated: bool
    """Whether each pipeline had a process of its own."""
    stages: list[StageEfficiency]
    pipelines: list[PipelineEfficiency]

    def settings(self) -> tuple[object, ...]:
        """Return what must be the same for measurements to stand in one table."""
        return (
            *(self.experiment, self.irkit, self.machine, self.threads),
            *(self.queries, self.warmup, self.memory_by, self.isolated),
        )


def save_efficiency(efficiency: Efficiency, folder: Path) -> Path:
    """Write ``efficiency.json`` into ``folder``; it appears whole or not at all.

    Raises:
        ReportError: when the folder cannot be written.
    """
    path = folder / EFFICIENCY
    write_atomically(path, efficiency.model_dump_json(indent=1) + "\n")
    return path


def load_efficiency(folder: Path) -> Efficiency | None:
    """Read what :func:`save_efficiency` wrote; None where nothing was measured.

    Raises:
        ReportError: when the file is damaged, or of another version of the format.
    """
    path = folder / EFFICIENCY
    if not path.exists():
        return None
    try:
        return read_record(path, Efficiency)
    except ReportError as error:
        hint = "remove the file, and measure again: irkit measure"
        raise ReportError(*(Problem(each.message, each.where, hint) for each in error.problems)) from error


def merged(old: Efficiency | None, new: Efficiency) -> Efficiency:
    """Return new measurements, with those of other pipelines and collections that were made before under the same settings."""
    if old is None or old.settings() != new.settings():
        return new
    again = {(each.collection, each.pipeline) for each in new.pipelines}
    stages = [each for each in old.stages if (each.collection, each.pipeline) not in again]
    pipelines = [each for each in old.pipelines if (each.collection, each.pipeline) not in again]
    everything = [*pipelines, *new.pipelines]
    update = {
        "device": devices(everything),
        "stages": [*stages, *new.stages],
        "pipelines": everything,
    }
    return new.model_copy(update=update)


def devices(pipelines: Sequence[PipelineEfficiency]) -> str:
    """Return the accelerators that some pipelines used; ``cpu`` for none."""
    found = dict.fromkeys(each.device for each in pipelines if each.device != "cpu")
    return ", ".join(found) or "cpu"


@dataclass(frozen=True)
class Current:
    """Measurements that belong to some results.

    Attributes:
        efficiency: those of pipelines as the results have them, in the order of the results.
        outdated: (collection, pipeline) of those that were measured with other options, documents or models than the results'.
    """

    efficiency: Efficiency
    outdated: list[tuple[str, str]]


def current(efficiency: Efficiency, results: Results) -> Current:
    """Keep the measurements whose nodes are those of the results: position by position, all of a pipeline or nothing of it.

    Pipelines and collections that the results do not have at all are left out without a word.
    """
    ours: dict[tuple[str, str], dict[int, str | None]] = {}
    for time in results.stages:
        ours.setdefault((time.collection, time.pipeline), {})[time.position] = time.node
    measured: dict[tuple[str, str], dict[int, str | None]] = {}
    for stage in efficiency.stages:
        measured.setdefault((stage.collection, stage.pipeline), {})[stage.position] = stage.node
    there = [(info.name, name) for info in results.collections for name in results.pipelines]
    place = {key: number for number, key in enumerate(there)}
    same = {key for key in there if key in measured and _agree(ours.get(key, {}), measured[key])}
    stages = sorted(
        (each for each in efficiency.stages if (each.collection, each.pipeline) in same),
        key=lambda each: (place[each.collection, each.pipeline], each.position),
    )
    pipelines = sorted(
        (each for each in efficiency.pipelines if (each.collection, each.pipeline) in same),
        key=lambda each: place[each.collection, each.pipeline],
    )
    kept = efficiency.model_copy(
        update={"stages": stages, "pipelines": pipelines, "device": devices(pipelines)}
    )
    return Current(kept, [key for key in there if key in measured and key not in same])


def _agree(ours: dict[int, str | None], measured: dict[int, str | None]) -> bool:
    """Whether a pipeline was measured as it is. A node that the store has lost since has no row in the results."""
    return bool(ours) and all(
        position in measured and measured[position] == node for position, node in ours.items()
    )
