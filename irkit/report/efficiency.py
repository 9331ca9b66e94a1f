"""What pipelines cost when they are measured for it: latency one query at a time, throughput, memory, arithmetic, size."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from irkit.report.results import Record

EFFICIENCY: Final = "efficiency.json"


class Latency(Record):
    """Milliseconds of one query at a time, over ``samples`` queries, after warm-up, the device idle before and after each."""

    samples: int
    mean: float
    p50: float
    p95: float
    p99: float


class Build(Record):
    """An index or other artifact that a stage opens."""

    kind: str
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
    """Of loading models and opening indexes in a process that had done neither."""
    first_ms: float
    """The first query after that: compilation and caches, which the latency leaves out."""
    latency: Latency
    throughput: float | None
    """Queries a second with all of the sample in one batch. None when that was not measured."""
    flops: float | None = None
    """Floating-point operations a query, counted by torch. None where torch does not do the work."""
    tokens: dict[str, float] = Field(default_factory=dict)
    """Tokens a query of a language model, by kind (prompt, written), where the stage counts them."""
    memory: int | None = None
    """Growth of the process's peak resident memory in bytes, from before the stage was prepared to after all its queries."""
    device_memory: int | None = None
    """Peak bytes allocated on the accelerator. None without one."""
    builds: list[Build] = Field(default_factory=list)


class PipelineEfficiency(Record):
    """A pipeline from the query's text to its last ranking, all its stages loaded."""

    collection: str
    pipeline: str
    latency: Latency
    throughput: float | None
    bytes: int
    """Of all artifacts that its stages open, each once."""
    flops: float | None = None
    """Of the stages for which they are known."""
    memory: int | None = None
    device_memory: int | None = None


class Efficiency(Record):
    """What ``efficiency.json`` holds."""

    schema_version: Literal[1] = 1
    experiment: str
    created: str
    command: str
    machine: str
    device: str
    threads: int
    queries: int
    """Of the sample, per collection."""
    warmup: int
    """Queries that were run and not counted, before each measurement."""
    stages: list[StageEfficiency]
    pipelines: list[PipelineEfficiency]
