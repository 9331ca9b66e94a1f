"""``irkit limit growth``: each pipeline's recall, and what it costs, as a collection of LIMIT's kind grows; from finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from irkit.core.errors import ReportError
from irkit.data.synthetic import NAME, LimitSynthetic, SyntheticSource
from irkit.report.results import RESULTS, Results, load_results

METRICS = ("recall@2", "recall@10", "recall@100")


@dataclass(frozen=True)
class Size:
    """One pipeline on one collection.

    Attributes:
        pipeline: its name.
        documents: of the collection.
        collection: its name.
        scores: one for each metric of the growth; None where the run has none.
        index_bytes: of what its stages open.
        prepare_seconds: of loading models and building or opening what it needs, as the run that did it noted; what another
            pipeline of the run had built before is not in it.
        query_ms: milliseconds a query, in batches; None where not known.
        device: what the model ran on; None where no stage says.
    """

    pipeline: str
    documents: int
    collection: str
    scores: tuple[float | None, ...]
    index_bytes: int
    prepare_seconds: float
    query_ms: float | None
    device: str | None


@dataclass(frozen=True)
class Growth:
    """Pipelines over sizes.

    Attributes:
        what: grows, in words.
        metrics: of every size.
        rows: by pipeline in the order of the runs, then by size; each pair once.
        left_out: collections of the runs that are no size of it.
    """

    what: str
    metrics: tuple[str, ...]
    rows: tuple[Size, ...]
    left_out: tuple[str, ...]

    @property
    def pipelines(self) -> list[str]:
        """The names, in the order of the runs."""
        return list(dict.fromkeys(row.pipeline for row in self.rows))

    @property
    def sizes(self) -> list[int]:
        """The numbers of documents, ascending."""
        return sorted({row.documents for row in self.rows})

    def at(self, pipeline: str, documents: int) -> Size | None:
        """Return a pipeline's row of one size, None where it was not run on it."""
        return next((r for r in self.rows if (r.pipeline, r.documents) == (pipeline, documents)), None)


def read_growth(folders: Sequence[Path], metrics: Sequence[str] = METRICS) -> Growth:
    """Read runs over ``irkit/limit-synthetic`` collections that differ in their size alone.

    Two families are looked for: the same n relevant documents among more and more others (``docs``), and n itself growing with no
    others. The one with most sizes is taken; a tie goes to the first. Of a pair of pipeline and size that several runs have,
    the last run's counts, which is right when it was measured again.

    Args:
        folders: of finished runs, with ``results.json``.
        metrics: to show; one that no run has is an error.

    Raises:
        ReportError: when a folder is no finished run, no two collections are sizes of one thing, or a metric is in none.
    """
    runs = [load_results(folder)[0] for folder in folders]
    where = ", ".join(str(folder / RESULTS) for folder in folders)
    known = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    for metric in metrics:
        if metric not in known:
            raise ReportError.of(
                f"no score of {metric}", where=where, hint=f"the runs have {', '.join(known)}"
            )
    names = list(dict.fromkeys(info.name for run in runs for info in run.collections))
    what, members = _largest_family(names)
    if len({SyntheticSource(name).n_docs for name in members}) < 2:
        raise ReportError.of(
            "no two collections are sizes of the same thing",
            where=where,
            hint=f"run an experiment over {NAME}?n=46, {NAME}?n=46&docs=1000 and so on",
        )
    rows = {(row.pipeline, row.documents): row for run in runs for row in _rows(run, members, metrics)}
    order = list(dict.fromkeys(name for run in runs for name in run.pipelines))
    ordered = sorted(rows.values(), key=lambda row: (order.index(row.pipeline), row.documents))
    left = tuple(name for name in names if name not in members)
    return Growth(what, tuple(metrics), tuple(ordered), left)


def _largest_family(names: Iterable[str]) -> tuple[str, set[str]]:
    """Return in words what grows, and the collections that differ in it alone."""
    families: dict[tuple[str, LimitSynthetic], set[str]] = {}
    for name in names:
        if name.partition("?")[0] != NAME:
            continue
        made = SyntheticSource(name).parameters
        kind = f"pattern {made.pattern}, k = {made.k}"
        fixed = f"{kind}: the same {made.n} relevant documents among more and more others"
        families.setdefault((fixed, made.model_copy(update={"docs": None})), set()).add(name)
        if made.docs in (None, made.n):
            growing = f"{kind}: more and more documents, each relevant to something"
            families.setdefault((growing, made.model_copy(update={"docs": None, "n": 1})), set()).add(name)
    if not families:
        return "", set()
    (what, _), members = max(
        families.items(), key=lambda item: len({SyntheticSource(n).n_docs for n in item[1]})
    )
    return what, members


def _rows(run: Results, members: set[str], metrics: Sequence[str]) -> Iterable[Size]:
    scores = {(s.collection, s.pipeline, s.metric): s.value for s in run.scores}
    for info in run.collections:
        if info.name not in members:
            continue
        for pipeline in run.pipelines:
            stages = [s for s in run.stages if (s.collection, s.pipeline) == (info.name, pipeline)]
            if not stages:
                continue
            timed = [s.seconds / s.timed_queries for s in stages if s.timed_queries]
            devices = (s.notes.get("device") for s in stages)
            yield Size(
                pipeline=pipeline,
                documents=info.documents,
                collection=info.name,
                scores=tuple(scores.get((info.name, pipeline, metric)) for metric in metrics),
                index_bytes=sum(s.artifact_bytes for s in stages),
                prepare_seconds=sum(s.prepare_seconds for s in stages),
                query_ms=1000 * sum(timed) if len(timed) == len(stages) else None,
                device=next((str(device) for device in devices if device), None),
            )
