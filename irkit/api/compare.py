"""Comparing run files from anywhere: the results and the report of an experiment, from files that other tools wrote."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.api.details import CollectionDetails, Source, Track, collection_details, write_details
from irkit.api.run_files import ANY, RunFiles, choose_baseline, find_collections, name_runs
from irkit.api.stored_details import rows_to_keep
from irkit.config.report import ReportOptions
from irkit.core.errors import ConfigError, DataError, Problem
from irkit.core.fingerprint import file_sha256
from irkit.core.metric import parse_metric
from irkit.data.collection import EvalPolicy
from irkit.evaluate.anyrun import read_any_run
from irkit.evaluate.metrics import evaluate
from irkit.evaluate.pooled import Judged, Pooled, Ties, pool
from irkit.report.build import write_report
from irkit.report.exports import write_exports
from irkit.report.pairs import families
from irkit.report.provenance import collect
from irkit.report.results import CollectionInfo, PerQuery, Results, Score, save_results

METRICS = ("ndcg@10", "map", "recall@100", "mrr@10")
"""What is computed unless said otherwise."""

_EXPERIMENT = "experiment.yaml"
_KEPT = ReportOptions()


def compare(
    runs: Sequence[str | Path] | Mapping[str, str | Path],
    qrels: str | Path,
    *,
    queries: str | Path | None = None,
    exclude: str | Path | None = None,
    metrics: Sequence[str] = METRICS,
    baseline: str | None = None,
    policy: EvalPolicy | None = None,
    ties: Ties = "docno",
    output: Path | str = Path("eval/runs/compare"),
    name: str | None = None,
    command: Sequence[str] | None = None,
) -> tuple[Results, Path]:
    """Evaluate run files against judgements, without a corpus, and write the views that a run of an experiment has.

    Scores decide the order, ties are broken by docno, descending; the rank column is ignored, and where it says something
    else, that is counted among the collection's warnings (``ties`` lets it order equal scores). Judged queries that a run
    lacks count 0.

    Several collections at once: ``{}`` in all paths stands for the name of the collection,
    ``compare(["runs/{}/bm25.trec"], "data/{}/qrels/test.tsv")``. There are those of which ``qrels`` has a file. A run that lacks
    a collection has no score there, which its warnings say.

    Args:
        runs: TREC run files, plain or gzip; by name, or named after the files.
        qrels: the judgements: TREC's four columns, BEIR's three, or JSON Lines; relevance -100 excludes a document.
        queries: which queries there are; those of the judgements when None. ``excluded_ids`` in it apply.
        exclude: documents that queries must never retrieve: ``query-id <tab> document-id``.
        metrics: names such as ``ndcg@10``.
        baseline: the name of the run that others are compared with; the first of several when None.
        policy: the rest of the protocol; see :class:`~irkit.data.collection.EvalPolicy`.
        ties: how equal scores are ordered: by ``docno``, as trec_eval does, or by the file's ``rank`` column.
        output: the folder to write: ``results.json``, ``per_query.json``, ``details.json``, ``report.html``, and the scores as
            Markdown, LaTeX, CSV.
        name: what the report is called; the name of the folder when None.
        command: what the user typed, for the provenance; ``sys.argv`` when None.

    Returns:
        The results, without costs, and the folder.

    Raises:
        ConfigError: for no run, two runs of one name, a baseline that is none of them, an unknown metric, and a folder that
            holds the results of an experiment.
        DataError: for files that do not exist or cannot be read, with ``file:line``.
    """
    started = time.perf_counter()
    named = name_runs(runs)
    wanted, chosen = _options(metrics, baseline, list(named))
    folder = Path(output)
    if (folder / _EXPERIMENT).exists():
        hint = "choose another folder"
        raise ConfigError.of("the folder holds the results of an experiment", where=str(folder), hint=hint)
    outcomes = [
        _on_collection(files, wanted, policy or EvalPolicy(), ties, chosen)
        for files in find_collections(named, qrels, queries, exclude)
    ]
    for run, path in named.items():
        if not any(run in outcome.digests for outcome in outcomes):
            hint = f"{ANY} stands for the name of the collection: {', '.join(o.info.name for o in outcomes)}"
            raise DataError.of("the run has no file for any collection", where=path, hint=hint)
    results = Results(
        experiment=name or folder.name or "compare",
        description=_described(qrels, ties),
        metrics=wanted,
        pipelines={run: _pipeline(path, run, outcomes) for run, path in named.items()},
        baseline=chosen,
        scores=[score for outcome in outcomes for score in outcome.scores],
        stages=[],
        collections=[outcome.info for outcome in outcomes],
        provenance=collect(Path.cwd(), command),
        seconds=time.perf_counter() - started,
    )
    per_query = [outcome.per_query for outcome in outcomes]
    details = write_details(results, [outcome.details for outcome in outcomes], _KEPT.bytes, folder)
    save_results(results, per_query, folder)
    tested = families(results, per_query)
    write_exports(results, per_query, folder, tested, details.funnels)
    write_report(folder, (results, per_query), tested)
    return results, folder


def _options(metrics: Sequence[str], baseline: str | None, runs: list[str]) -> tuple[list[str], str | None]:
    """Return the metrics and the baseline; what is wrong with either is told at once."""
    wanted, chosen, problems = dict[str, None](), None, list[Problem]()
    for metric in metrics:
        try:
            wanted[str(parse_metric(metric))] = None
        except ConfigError as error:
            problems += error.problems
    if not metrics:
        problems.append(Problem("there is no metric", "metrics", "for example: ndcg@10,recall@100"))
    try:
        chosen = choose_baseline(baseline, runs)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return list(wanted), chosen


@dataclass(frozen=True)
class _Outcome:
    info: CollectionInfo
    scores: list[Score]
    per_query: PerQuery
    details: CollectionDetails
    digests: dict[str, str]
    tags: dict[str, str]


def _on_collection(
    files: RunFiles, metrics: Sequence[str], policy: EvalPolicy, ties: Ties, baseline: str | None
) -> _Outcome:
    judged = Judged.read(files.qrels, queries=files.queries, exclude=files.exclude, policy=policy, ties=ties)
    runs = {run: read_any_run(path) for run, path in files.runs.items()}
    pooled = pool(runs, judged)
    judged_at = parse_metric(metrics[0]).k or 10
    holes = f"judged@{judged_at}"
    values = {
        run: evaluate(
            rankings,
            pooled.qrels,
            list(dict.fromkeys([*metrics, holes])),
            exclude=pooled.queries.exclude,
            relevance_level=policy.relevance_level,
        )
        for run, rankings in pooled.rankings.items()
    }
    per_query = PerQuery(
        collection=files.name,
        qid=list(pooled.queries.qid),
        values={
            run: {metric: of_run[metric].tolist() for metric in metrics} for run, of_run in values.items()
        },
        judged={run: of_run[holes].tolist() for run, of_run in values.items()},
        judged_at=judged_at,
    )
    return _Outcome(
        _info(files, judged, pooled),
        [
            Score(collection=files.name, pipeline=run, metric=metric, value=float(of_run[metric].mean()))
            for run, of_run in values.items()
            for metric in metrics
        ],
        per_query,
        _details(files.name, judged, pooled, per_query, metrics[0], baseline),
        {run: file_sha256(path) for run, path in files.runs.items()},
        {run: read.tag for run, read in runs.items()},
    )


def _details(
    name: str, judged: Judged, pooled: Pooled, per_query: PerQuery, metric: str, baseline: str | None
) -> CollectionDetails:
    """Return where each run has the relevant documents: a run is a pipeline of one step, and documents have no texts."""
    rows = range(len(pooled.queries))  # judged queries all
    source = Source(
        name=name,
        queries=pooled.queries,
        qrels=pooled.qrels,
        level=judged.policy.relevance_level,
        docs=pooled.docs,
        texts=judged.texts,
        has_texts=False,
        has_scores=judged.ties == "docno",
    )
    tracks = {
        run: Track([("run file", "run file")], [()], lambda rankings=rankings: [rankings])  # type: ignore[misc]
        for run, rankings in pooled.rankings.items()
    }
    kept = rows_to_keep(per_query, pooled.queries, rows, metric, baseline, (), _KEPT.queries)
    return collection_details(source, tracks, kept, per_query.judged_at or 10, _KEPT)


def _info(files: RunFiles, judged: Judged, pooled: Pooled) -> CollectionInfo:
    warnings = dict(pooled.warnings)
    for run, path in files.absent.items():
        kind = "run without a file for this collection"
        count, first = warnings.get(kind, (0, f"{run}: {path}"))
        warnings[kind] = (count + 1, first)
    return CollectionInfo(
        name=files.name,
        documents=pooled.documents,
        queries=len(pooled.queries),
        judged_queries=len(pooled.queries),
        judgements=len(pooled.qrels.doc),
        fingerprint=judged.fingerprint,
        policy=judged.protocol(),
        warnings=warnings,
        qrels_fingerprint=judged.judgements,
        with_documents=False,
    )


def _described(qrels: str | Path, ties: Ties) -> str:
    order = "ties go by document id, descending; rank columns are ignored"
    return (
        f"Run files, evaluated against {qrels} without a corpus: the documents counted are those that runs and judgements "
        f"name. Scores decide the order, {order if ties == 'docno' else 'and rank columns among equal scores'}."
    )


def _pipeline(path: str, run: str, outcomes: Sequence[_Outcome]) -> list[Any]:
    """Return where a run comes from, in the place of a pipeline's stages."""
    digests = {o.info.name: o.digests[run] for o in outcomes if run in o.digests}
    tag = next((o.tags[run] for o in outcomes if run in o.tags), "")
    single = ANY not in path
    return [
        {"run": {"file": path, "tag": tag, "sha256": next(iter(digests.values())) if single else digests}}
    ]
