"""Measuring what the pipelines of an experiment cost: latency, throughput, memory, arithmetic, size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from irkit.api.chosen import chosen, chosen_pipelines
from irkit.api.measured import Outcome, Task, measure_pipeline
from irkit.api.measured_apart import measure_apart
from irkit.api.measured_kept import keep, require_place, show
from irkit.api.workspace import Workspace
from irkit.config.defaults import TIMED_QUERIES, WARMUP_QUERIES
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, DataError
from irkit.data.collection import Collection
from irkit.exec.resources import load, machine_name
from irkit.pipeline.graph import Node, merged
from irkit.report.efficiency import BUSY, Efficiency, devices
from irkit.report.provenance import collect
from irkit.report.results import Provenance


def measure(
    experiment: Experiment | Path | str,
    workspace: Workspace | None = None,
    *,
    settings: Sequence[str] = (),
    only: Sequence[str] = (),
    pipelines: Sequence[str] = (),
    queries: int = TIMED_QUERIES,
    warmup: int = WARMUP_QUERIES,
    output: Path | None = None,
    isolated: bool = True,
    command: Sequence[str] | None = None,
) -> tuple[Efficiency, Path]:
    """Measure what pipelines cost, and write the figures beside the results of the experiment.

    Stages really run: no result is read from the store or added to it. Indexes that it lacks are built first. Nothing is paid
    for: what a language model writes must be in the store already.

    Args:
        experiment: an experiment, or the path of its YAML file.
        workspace: where and how; the current folder when None.
        settings: ``a.b.c=value`` overrides of a YAML file.
        only: collections, by name or a part of it; all when empty.
        pipelines: by name; all but order controls when empty.
        queries: how many are timed on each collection, evenly spaced over its queries.
        warmup: how many others are run before, and not counted: again and again, until times stand still. 0: none.
        output: the folder to write to; that of the experiment's results when None.
        isolated: give each pipeline a process of its own, so that loading, first queries and memory are its own. Stages that
            were registered in this process alone need False.
        command: what the user typed; ``sys.argv`` when None.

    Returns:
        the measurements, and the folder with ``efficiency.json``, ``efficiency.md`` and ``efficiency.csv``. They are
        written after each pipeline, with earlier ones of others under the same settings; where settings differ, the earlier ones
        stay beside them as ``efficiency-TIME.json``. Where the folder has a report, it is made anew at the end.

    Raises:
        IrkitError: for anything a user can mend.
    """
    waiting = load()  # before anything here wants a processor
    workspace = replace(workspace or Workspace(), shared={})
    if not isinstance(experiment, Experiment):
        experiment = workspace.load(experiment, settings)
    if queries < 1:
        raise ConfigError.of(
            "there is nothing to measure", where=f"--queries {queries}", hint="name at least 1"
        )
    if warmup < 0:
        raise ConfigError.of("there is no such number", where=f"--warmup {warmup}", hint="0 for none")
    workspace = replace(workspace, runtime=replace(workspace.runtime, writes=False))
    collections = chosen(experiment, only)
    names = chosen_pipelines(experiment, pipelines) if pipelines else _all(experiment)
    folder = output or workspace.runs / experiment.name
    require_place(folder)
    made = collect(workspace.root, command)
    session = {
        "created": made.created,
        "command": made.command,
        "load": waiting,
        "busy": waiting is not None and waiting >= BUSY,
    }
    outcomes: list[Outcome] = []
    for name in collections:
        collection = workspace.open(experiment.collections[name])
        if not len(collection.queries):
            raise DataError.of("the collection has no queries", where=name, hint="measure on another one")
        ends = {pipeline: experiment.pipelines[pipeline].graph() for pipeline in names}
        _build(workspace, collection, ends)
        for pipeline in names:
            with workspace.progress.task(f"{name}: {pipeline}", 1) as advance:
                task = Task(name, pipeline, queries, warmup)
                found = (
                    measure_apart(task, experiment, workspace)
                    if isolated
                    else measure_pipeline(task, workspace, collection, ends[pipeline])
                )
                measured = found.pipeline.model_copy(update=session)
                outcomes.append(found.model_copy(update={"pipeline": measured}))
                ours = _record(experiment, workspace, made, outcomes, queries, warmup, isolated)
                efficiency = keep(ours, folder, workspace.progress.say)
                advance(1)
    show(folder)
    return efficiency, folder


def _record(
    experiment: Experiment,
    workspace: Workspace,
    made: Provenance,
    outcomes: Sequence[Outcome],
    queries: int,
    warmup: int,
    isolated: bool,
) -> Efficiency:
    """Return what a session has found so far."""
    pipelines = [outcome.pipeline for outcome in outcomes]
    return Efficiency(
        experiment=experiment.name,
        created=made.created,
        command=made.command,
        irkit=made.irkit,
        machine=machine_name(),
        device=devices(pipelines),
        asked_device=workspace.runtime.device,
        threads=workspace.runtime.threads,
        queries=queries,
        warmup=warmup,
        memory_by=outcomes[-1].memory_by,
        isolated=isolated,
        stages=[stage for outcome in outcomes for stage in outcome.stages],
        pipelines=pipelines,
    )


def _all(experiment: Experiment) -> list[str]:
    """Return the pipelines but for order controls, whose work is that of the pipelines they are of."""
    return [name for name in experiment.pipelines if name not in experiment.controls]


def _build(workspace: Workspace, collection: Collection, ends: Mapping[str, Node]) -> None:
    """Build what stages would have to build, so that no measurement has to."""
    context = workspace.context(collection)
    for stage in dict.fromkeys(node.stage for node in merged(list(ends.values()))):
        if any(workspace.store.find(recipe) is None for recipe in stage.artifacts(context)):
            stage.prepare(replace(context, notes={}))
