"""One pipeline on one collection, measured in this process, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from irkit.api.workspace import Workspace
from irkit.data.collection import Collection
from irkit.exec.executor import label_of
from irkit.exec.keys import Namer
from irkit.exec.measuring import Measurement
from irkit.exec.resources import device_name
from irkit.exec.timing import Meter, NodeTiming, Timing, sample_of
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.stage import Stage
from irkit.report.efficiency import Build, Latency, PipelineEfficiency, StageEfficiency
from irkit.report.results import Record

_TOKENS = "tokens"
_WRITING = "writing of texts by a language model"


@dataclass(frozen=True)
class Task:
    """What to measure: a pipeline of an experiment on one of its collections, both by name."""

    collection: str
    pipeline: str
    queries: int
    warmup: int


class Outcome(Record):
    """What was found."""

    stages: list[StageEfficiency]
    pipeline: PipelineEfficiency
    memory_by: str


def measure_pipeline(
    task: Task, workspace: Workspace, collection: Collection, end: Node, meter: Meter | None = None
) -> Outcome:
    """Measure a pipeline, given by its last node, in this process.

    Raises:
        IrkitError: for anything a user can mend.
    """
    context = workspace.context(collection)
    measurement = Measurement(
        context, end, sample_of(len(collection.queries), task.queries, task.warmup), meter
    )
    nodes, whole = measurement.run()
    namer = Namer(context)
    stages = [
        _stage(task, position, node, timing, namer, context)
        for position, (node, timing) in enumerate(nodes.items())
    ]
    sizes = {build.key: build.bytes for stage in stages for build in stage.builds}
    flops = [stage.flops for stage in stages if stage.flops is not None]
    tokens: dict[str, float] = {}
    for stage in stages:
        for kind, count in stage.tokens.items():
            tokens[kind] = tokens.get(kind, 0.0) + count
    pipeline = PipelineEfficiency(
        collection=task.collection,
        pipeline=task.pipeline,
        latency=latency(whole),
        throughput=whole.throughput,
        bytes=sum(sizes.values()),
        flops=sum(flops) if flops else None,
        flops_at_least=bool(flops) and any(stage.flops is None or stage.flops_at_least for stage in stages),
        excludes=list(dict.fromkeys(what for stage in stages for what in stage.excludes)),
        tokens=tokens,
        memory=whole.memory,
        device_memory=whole.device_memory,
        device=device_name(),
    )
    return Outcome(stages=stages, pipeline=pipeline, memory_by=measurement.memory_by)


def latency(timing: Timing) -> Latency:
    """Return the mean and the percentiles, linearly interpolated, of some times, and how steady they were."""
    p50, p95, p99 = np.percentile(timing.each, (50, 95, 99), method="linear").tolist()
    return Latency(
        samples=len(timing.each),
        mean=float(np.mean(timing.each)),
        p50=p50,
        p95=p95,
        p99=p99,
        warmed=timing.warming.runs,
        steady=timing.warming.steady,
        drift=timing.drift,
    )


def _stage(
    task: Task, position: int, node: Node, timing: NodeTiming, namer: Namer, context: Context
) -> StageEfficiency:
    return StageEfficiency(
        collection=task.collection,
        pipeline=task.pipeline,
        position=position,
        stage=node.stage.name,
        label=label_of(node),
        node=namer.recipe(node).base,
        cold_seconds=timing.cold_seconds,
        first_ms=timing.first_ms,
        latency=latency(timing),
        throughput=timing.throughput,
        flops=timing.flops,
        flops_at_least=timing.flops is not None and bool(node.stage.uncounted),
        excludes=[_WRITING] if _written(timing) else [],
        tokens=_tokens(timing.counts, len(timing.each)),
        memory=timing.memory,
        device_memory=timing.device_memory,
        builds=_builds(node.stage, context),
        differing=timing.differing,
        notes=_notes(node, timing),
    )


def _tokens(counts: Mapping[str, int], queries: int) -> dict[str, float]:
    """Return the tokens a query, by kind, of counts named ``tokens/kind`` and ``kind tokens``."""
    found = {}
    for name, count in counts.items():
        group, _, kind = name.rpartition("/")
        if group == _TOKENS:
            found[kind] = count / queries
        elif name.endswith(_TOKENS):
            found[name.removesuffix(_TOKENS).strip(" _/") or _TOKENS] = count / queries
    return found


def _written(timing: NodeTiming) -> bool:
    """Whether a language model wrote texts that the stage took, for any query of the sample."""
    return any(name.startswith("texts/") and count for name, count in timing.counts.items())


def _builds(stage: Stage, context: Context) -> list[Build]:
    found = []
    for recipe in stage.opens(context):
        artifact = context.store.find(recipe)
        if artifact is not None:
            seconds = artifact.manifest.get("seconds")
            found.append(
                Build(
                    kind=artifact.kind,
                    key=artifact.key,
                    bytes=artifact.bytes,
                    seconds=float(seconds) if isinstance(seconds, int | float) else None,
                )
            )
    return found


def _notes(node: Node, timing: NodeTiming) -> list[str]:
    notes = []
    if timing.prepared:
        notes.append("loaded already, for an equal stage before it in the pipeline")
    if timing.flops is not None and node.stage.uncounted:
        notes.append(f"not counted among the operations: {node.stage.uncounted}")
    if _written(timing):
        notes.append(
            "texts come from the store: the time, memory and operations of writing them are not in these figures"
        )
    if timing.differing:
        one = timing.differing == 1
        queries = "1 query has" if one else f"{timing.differing} queries have"
        notes.append(f"{queries} another result in one batch than alone")
    return notes
