"""Running an experiment from end to end: collections, graph, evaluation, run files, results and report."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from irkit.api.changed import changed_queries
from irkit.api.chosen import chosen, stored
from irkit.api.explained import explained_queries
from irkit.api.metadata import run_metadata
from irkit.api.published import published_for, with_published
from irkit.api.workspace import Workspace
from irkit.config.experiment import Experiment
from irkit.core.files import write_atomically
from irkit.core.metric import parse_metric
from irkit.data.collection import Collection
from irkit.evaluate.runfile import write_run
from irkit.evaluate.stored import evaluate_stored
from irkit.exec.executor import Executor, Trace, label_of
from irkit.pipeline.graph import Node, pipelines_to_data
from irkit.report.build import write_report
from irkit.report.exports import write_exports
from irkit.report.provenance import collect
from irkit.report.results import (
    CollectionInfo,
    Expectation,
    ExplainedQuery,
    PerQuery,
    Results,
    Score,
    StageTime,
    save_results,
)


def run(
    experiment: Experiment | Path | str,
    workspace: Workspace | None = None,
    *,
    settings: Sequence[str] = (),
    only: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> tuple[Results, Path]:
    """Run an experiment and write its results.

    Args:
        experiment: an experiment, or the path of its YAML file.
        workspace: where and how; the current folder when None.
        settings: ``a.b.c=value`` overrides of a YAML file.
        only: collections to run on, by name or by a part of it that no other has (``scifact``, ``cqadupstack``); all when
            empty. Of the others, those are shown too of which the store has everything.
        command: what the user typed, for the provenance; ``sys.argv`` when None.

    Returns:
        The results and the folder they were written to, ``eval/runs/<name>/``: ``results.json``, ``per_query.json``,
        ``experiment.yaml``, ``report.html``, ``scores.md``, ``scores.tex``, ``scores.csv``, ``per_query.parquet`` (``.csv``
        without pyarrow) and ``runs/<collection>/<pipeline>.trec``.

    Raises:
        IrkitError: for anything a user can mend.
    """
    workspace = replace(workspace or Workspace(), shared={})
    if not isinstance(experiment, Experiment):
        experiment = workspace.load(experiment, settings)
    started = time.perf_counter()
    asked, known = chosen(experiment, only), published_for(experiment, workspace)
    kept = stored(experiment, (name for name in experiment.collections if name not in asked), workspace)
    shown = [name for name in experiment.collections if name in asked or name in kept]
    folder = workspace.runs / experiment.name
    outcomes = [_on_collection(experiment, name, workspace, folder) for name in shown]
    scores = [score for outcome in outcomes for score in outcome.scores]
    results = Results(
        experiment=experiment.name,
        description=experiment.description,
        metrics=list(experiment.metrics),
        pipelines=pipelines_to_data(experiment.pipelines),
        baseline=experiment.baseline,
        controls=experiment.controls,
        scores=scores,
        stages=[stage for outcome in outcomes for stage in outcome.stages],
        collections=[outcome.info for outcome in outcomes],
        expected=_expectations(experiment, scores),
        provenance=collect(workspace.root, command),
        seconds=time.perf_counter() - started,
        left_out=[name for name in experiment.collections if name not in shown],
        kept=kept,
        statistics=experiment.statistics,
    )
    results = with_published(results, experiment, known)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "experiment.yaml", experiment.to_yaml(full=True))
    per_query = [outcome.per_query for outcome in outcomes]
    save_results(results, per_query, folder)
    write_exports(results, per_query, folder)
    write_report(folder)
    _drop_old_runs(folder, experiment)
    return results, folder


@dataclass(frozen=True)
class _Outcome:
    info: CollectionInfo
    scores: list[Score]
    stages: list[StageTime]
    per_query: PerQuery


def _on_collection(experiment: Experiment, name: str, workspace: Workspace, folder: Path) -> _Outcome:
    collection = workspace.open(experiment.collections[name])
    ends = {pipeline: steps.graph() for pipeline, steps in experiment.pipelines.items()}
    executor = Executor(workspace.context(collection), list(ends.values()))
    values: dict[str, Mapping[str, Any]] = {}
    judged_at = parse_metric(experiment.metrics[0]).k or 10
    explained: list[ExplainedQuery] = []
    for pipeline, node in ends.items():
        executor.artifact(node)
        explained += explained_queries(pipeline, node, executor)
        values[pipeline] = evaluate_stored(
            workspace.store,
            executor.recipe(node),
            lambda node=node: executor.rankings(node),  # type: ignore[misc]
            collection,
            list(dict.fromkeys([*experiment.metrics, f"judged@{judged_at}"])),
        )
        metadata = run_metadata(experiment, pipeline, collection, name)
        _write_run(folder, name, pipeline, executor, node, collection, metadata)
    judged = np.flatnonzero(collection.judged).tolist()
    info = CollectionInfo(
        name=name,
        documents=len(collection.docs),
        queries=len(collection.queries),
        judged_queries=len(judged),
        judgements=len(collection.qrels.doc),
        fingerprint=collection.fingerprint,
        policy=collection.policy.model_dump(mode="json"),
        warnings=dict(collection.warnings),
    )
    first = experiment.metrics[0]
    of_first = {pipeline: by_metric[first] for pipeline, by_metric in values.items()}
    per_query = PerQuery(
        collection=name,
        qid=[collection.queries.qid[row] for row in judged],
        values={
            p: {metric: by_metric[metric].tolist() for metric in experiment.metrics}
            for p, by_metric in values.items()
        },
        judged={p: by_metric[f"judged@{judged_at}"].tolist() for p, by_metric in values.items()},
        judged_at=judged_at,
        explained=explained,
        changed=changed_queries(
            {pipeline: node for pipeline, node in ends.items() if pipeline not in experiment.controls},
            executor,
            first,
            of_first,
            of_first.get(experiment.baseline) if experiment.baseline is not None else None,
        ),
    )
    scores = [
        Score(collection=name, pipeline=p, metric=metric, value=float(np.mean(values[p][metric])))
        for p in ends
        for metric in experiment.metrics
    ]
    return _Outcome(info, scores, _stage_times(name, ends, executor), per_query)


def _stage_times(collection: str, ends: Mapping[str, Node], executor: Executor) -> list[StageTime]:
    traces = dict(executor.traces())
    return [
        _stage_time(collection, pipeline, position, node, traces[node], executor.recipe(node).base)
        for pipeline, end in ends.items()
        for position, node in enumerate(end.walk())
        if node in traces
    ]


def _stage_time(
    collection: str, pipeline: str, position: int, node: Node, trace: Trace, key: str
) -> StageTime:
    return StageTime(
        collection=collection,
        pipeline=pipeline,
        position=position,
        stage=node.stage.name,
        label=label_of(node),
        seconds=trace.cost.seconds,
        prepare_seconds=trace.cost.prepare_seconds,
        queries=trace.queries,
        timed_queries=trace.cost.computed,
        cached_queries=trace.stored,
        artifact_bytes=trace.artifact_bytes,
        notes=trace.cost.told(),
        node=key,
    )


def _expectations(experiment: Experiment, scores: Sequence[Score]) -> list[Expectation]:
    found = {(score.collection, score.pipeline, score.metric): score.value for score in scores}
    result = []
    for collection, pipelines in experiment.expected.items():
        for pipeline, metrics in pipelines.items():
            for metric, expected in metrics.items():
                value = found.get((collection, pipeline, metric))
                if value is None:  # a collection that --only left out
                    continue
                result.append(
                    Expectation(
                        collection=collection,
                        pipeline=pipeline,
                        metric=metric,
                        expected=expected,
                        value=value,
                        tolerance=experiment.tolerance,
                        status="match" if abs(value - expected) <= experiment.tolerance + 1e-12 else "off",
                    )
                )
    return result


def _write_run(
    folder: Path,
    name: str,
    pipeline: str,
    executor: Executor,
    node: Node,
    collection: Collection,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    path = _run_file(folder, name, pipeline)
    recipe = executor.recipe(node)
    marker = f"irkit-{recipe.base[:16]}-{recipe.part}-{collection.fingerprint[:16]}"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            if any(marker in line for line in takewhile(lambda line: line.startswith("#"), file)):
                return  # written by an earlier run, from the same rankings of the same queries
    with suppress(OSError):  # write_run says what is wrong with the folder
        path.parent.mkdir(parents=True, exist_ok=True)
    write_run(
        path,
        executor.rankings(node),
        collection,
        tag=pipeline,
        header={**(metadata or {}), "rankings": marker},
    )


def _run_file(folder: Path, collection: str, pipeline: str) -> Path:
    """Return where a run file stands: one folder per collection, whatever slashes and dots its name has."""
    safe = re.sub(r"^\.", "%2E", quote(collection, safe=" =,+"))
    return folder / "runs" / safe / f"{pipeline}.trec"


def _drop_old_runs(folder: Path, experiment: Experiment) -> None:
    """Remove the run files of pipelines and collections that the experiment no longer has, and the folders they leave empty.

    Those of collections that ``--only`` left out stay.
    """
    ours = {_run_file(folder, c, p) for c in experiment.collections for p in experiment.pipelines}
    for path in list((folder / "runs").glob("*/*.trec")):
        if path not in ours:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # other files stand there
                path.parent.rmdir()
