"""Running an experiment from end to end: collections, graph, evaluation, run files, results and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from irkit.api.changed import changed_queries
from irkit.api.chosen import chosen, chosen_pipelines, restricted, stored, stored_pipelines
from irkit.api.details import CollectionDetails, write_details
from irkit.api.explained import explained_queries
from irkit.api.metadata import run_metadata
from irkit.api.published import published_for, with_published
from irkit.api.stored_details import rows_to_keep, stored_details
from irkit.api.workspace import Workspace
from irkit.api.written_runs import drop_old_runs, write_run_file
from irkit.config.experiment import Experiment
from irkit.core.files import write_atomically
from irkit.core.metric import parse_metric
from irkit.data.judgements import collection_judgements
from irkit.evaluate.stored import evaluate_stored
from irkit.exec.executor import Executor, Trace, label_of
from irkit.pipeline.graph import Node, pipelines_to_data
from irkit.report.build import write_report
from irkit.report.exports import write_exports
from irkit.report.pairs import families
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
    pipelines: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> tuple[Results, Path]:
    """Run an experiment and write its results.

    Args:
        experiment: an experiment, or the path of its YAML file.
        workspace: where and how; the current folder when None.
        settings: ``a.b.c=value`` overrides of a YAML file.
        only: collections to run on, by name or by a part of it that no other has (``scifact``, ``cqadupstack``); all when
            empty. Of the others, those are shown too of which the store has everything.
        pipelines: to run, by name; all when empty. Of the others, those are shown too of which the store has everything on the
            collections that are run. With an order control comes the pipeline that it is of. Without the baseline there is none.
        command: what the user typed, for the provenance; ``sys.argv`` when None.

    Returns:
        The results and the folder they were written to, ``eval/runs/<name>/``: ``results.json``, ``per_query.json``,
        ``details.json``, ``experiment.yaml``, ``report.html``, ``scores.md``, ``scores.tex``, ``scores.csv``,
        ``per_query.parquet`` (``.csv`` without pyarrow) and ``runs/<collection>/<pipeline>.trec``.

    Raises:
        IrkitError: for anything a user can mend.
    """
    workspace = replace(workspace or Workspace(), shared={})
    if not isinstance(experiment, Experiment):
        experiment = workspace.load(experiment, settings)
    started = time.perf_counter()
    asked, wanted, whole = chosen(experiment, only), chosen_pipelines(experiment, pipelines), experiment
    rest = [name for name in whole.pipelines if name not in wanted]
    kept_pipelines = stored_pipelines(whole, rest, asked, workspace)
    experiment = restricted(whole, [*wanted, *kept_pipelines])
    known = published_for(experiment, workspace)
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
        left_out_pipelines=[name for name in rest if name not in experiment.pipelines],
        kept_pipelines=kept_pipelines,
        statistics=experiment.statistics,
    )
    results = with_published(results, experiment, known)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "experiment.yaml", whole.to_yaml(full=True))
    per_query = [outcome.per_query for outcome in outcomes]
    details = write_details(
        results, [outcome.details for outcome in outcomes], experiment.report.bytes, folder
    )
    save_results(results, per_query, folder)
    tested = families(results, per_query)
    write_exports(results, per_query, folder, tested, details.funnels)
    write_report(folder, (results, per_query), tested)
    drop_old_runs(folder, whole)
    return results, folder


@dataclass(frozen=True)
class _Outcome:
    info: CollectionInfo
    scores: list[Score]
    stages: list[StageTime]
    per_query: PerQuery
    details: CollectionDetails


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
        write_run_file(folder, name, pipeline, executor, node, collection, metadata)
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
        qrels_fingerprint=collection_judgements(collection),
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
    rows = rows_to_keep(
        per_query,
        collection.queries,
        judged,
        first,
        experiment.baseline,
        experiment.controls,
        experiment.report.queries,
    )
    details = stored_details(name, ends, executor, rows, judged_at, experiment.report)
    return _Outcome(info, scores, _stage_times(name, ends, executor), per_query, details)


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
                if value is None:  # --only left the collection out
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
