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
DRIFT: Final = 1.2
"""The second half of the timed queries may take so many times as long as the first, or the first as the second."""
BUSY: Final = 1.0
"""The load from which a machine counts as busy: as many processes wanted a processor in the minute before, on average."""


class Latency(Record):
    """Milliseconds of one query at a time, over ``samples`` queries, after warm-up, the device idle before and after each.

    Percentiles are interpolated linearly: of up to 100 samples the 99th lies between the two slowest.
    """

    samples: int
    mean: float
    p50: float
    p95: float
    p99: float
    warmed: int = 0
    """How often queries were run for nothing but warming up, right before."""
    steady: bool = False
    """Whether the median of such runs stood still then: within 5 %."""
    drift: float | None = None
    """The median of the queries that were timed in the second half of the time, as a multiple of that of the first. Halves have
    queries from everywhere, so it is near 1 where the machine kept its pace. None for fewer than 20 samples."""

    @property
    def drifted(self) -> bool:
        """Whether the halves are further apart than :data:`DRIFT`."""
        return self.drift is not None and not 1 / DRIFT <= self.drift <= DRIFT


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
    flops_at_least: bool = False
    """Whether other code than torch does, or may do, a part of the work, so that ``flops`` is a lower bound."""
    excludes: list[str] = Field(default_factory=list)
    """What the stage needs for a new query and did not do here: neither time nor memory nor operations have it."""
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
    flops_at_least: bool = False
    """Whether they are not known of all stages, or only in part of one, so that ``flops`` is a lower bound."""
    excludes: list[str] = Field(default_factory=list)
    """What no figure but ``tokens`` has of what a new query needs: writing of texts by a language model, which come from the store.
    The tokens are those that writing took; its seconds the store does not know."""
    tokens: dict[str, float] = Field(default_factory=dict)
    """Of all stages."""
    memory: int | None = None
    device_memory: int | None = None
    device: str = "cpu"
    """The accelerator that it used, by the maker's name; ``cpu`` where it used none."""
    load: float | None = None
    """Processes that wanted a processor in the minute before the session began, on average: where it is well above 0, others were
    at work. None where the system does not tell."""
    busy: bool = False
    """Whether that is :data:`BUSY` or more."""
    created: str = ""
    """When the session began in which it was measured: ISO 8601, UTC."""
    command: str = ""
    """That of the session."""


class Efficiency(Record):
    """What ``efficiency.json`` holds."""

    schema_version: Literal[2] = 2
    experiment: str
    created: str
    """When the session of the last measurement began: ISO 8601, UTC."""
    command: str
    """Of that session."""
    irkit: str
    machine: str
    device: str
    """The accelerators that were used; ``cpu`` for none."""
    asked_device: str | None = None
    """The device that was asked for; None for the best there is."""
    threads: int
    queries: int
    """Of the sample, per collection; ``samples`` are fewer where the collection is smaller."""
    warmup: int
    """Queries that were asked for to be run and not counted, before each measurement. How many runs it took,
    :attr:`Latency.warmed` says."""
    memory_by: str
    """``VmHWM``: set back before every stage, so that each peak is its own; ``ru_maxrss``: not, so that a stage which stays below
    an earlier peak shows 0."""
    isolated: bool
    """Whether each pipeline had a process of its own."""
    stages: list[StageEfficiency]
    pipelines: list[PipelineEfficiency]

    def settings(self) -> dict[str, object]:
        """Return by name what must be the same for measurements to stand in one table."""
        return {
            "experiment": self.experiment,
            "irkit": self.irkit,
            "machine": self.machine,
            "--device": self.asked_device,
            "--threads": self.threads,
            "--queries": self.queries,
            "--warmup": self.warmup,
            "memory by": self.memory_by,
            "isolated": self.isolated,
        }

    def sessions(self) -> dict[str, str]:
        """Return when the measurements were made, in order of time, and by which commands."""
        found = {each.created or self.created: each.command or self.command for each in self.pipelines}
        return {created: found[created] for created in sorted(found)}


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


def mergeable(old: Efficiency, new: Efficiency) -> bool:
    """Whether measurements may stand in one table: made under the same settings, on the same accelerator if on any."""
    return old.settings() == new.settings() and not _other_device(old, new)


def merged(old: Efficiency | None, new: Efficiency) -> Efficiency:
    """Return new measurements, with those of other pipelines and collections that were made before under the same settings."""
    if old is None or not mergeable(old, new):
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


def _other_device(old: Efficiency, new: Efficiency) -> bool:
    """Whether two measurements used accelerators, and not the same. One that used none could have been beside either."""
    return old.device != new.device and "cpu" not in (old.device, new.device)


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
    """Whether a pipeline was measured as it is, up to the same last node, which always has a row in the results.

    A node before it that the store has lost since has none.
    """
    return (
        bool(ours)
        and max(ours) == max(measured)
        and all(position in measured and measured[position] == node for position, node in ours.items())
    )
