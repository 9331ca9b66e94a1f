"""Score tables as values: pipelines x metrics of a collection, and means over collections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from irkit.report import format as fmt
from irkit.report.averages import Values, mean_of, named_averages, values_of
from irkit.report.results import CollectionInfo, Expectation, Results

UNTESTED = "Significance is tested within a collection only: a mean over collections carries no test"
"""What is said of a mean."""


Kind: TypeAlias = Literal["collection", "set", "average", "mean"]
"""What a table is of: a collection, a macro set, an average that the experiment names, or all collections."""


@dataclass(frozen=True)
class Cell:
    """One score in its table.

    Attributes:
        value: None when there is none; then ``reason`` says why.
        best: it is the highest of its column to the decimals shown, of at least two; ties share the mark.
        delta: the difference to the baseline's score; None for the baseline and where either is missing.
        expectation: what the experiment expected here, if anything.
    """

    metric: str
    value: float | None
    best: bool = False
    delta: float | None = None
    expectation: Expectation | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Row:
    """The scores of one pipeline, aligned with the table's metrics."""

    pipeline: str
    is_baseline: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoreTable:
    """Pipelines x metrics.

    Attributes:
        name: the collection, or the name of the mean.
        members: empty for a collection; for a mean, what it is taken over, each counting once.
        rows: the pipelines in the order of the experiment.
        kind: what it is of.
        of: the name of the collection, the set or the average itself, without what the title adds; None for the mean over all.
        parts: for each member the collections that it is the mean of.
    """

    name: str
    members: tuple[str, ...]
    metrics: tuple[str, ...]
    baseline: str | None
    rows: tuple[Row, ...]
    kind: Kind = "collection"
    of: str | None = None
    parts: tuple[tuple[str, ...], ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why cells are empty, each reason once."""
        cells = (cell for row in self.rows for cell in row.cells)
        return tuple(dict.fromkeys(cell.reason for cell in cells if cell.reason))

    @property
    def has_best(self) -> bool:
        """Whether any cell is marked as the best."""
        return any(cell.best for row in self.rows for cell in row.cells)


def score_tables(results: Results) -> list[ScoreTable]:
    """Return one table per collection and, after them, the means.

    Collections whose policy names a macro set (CQADupStack's forums) have a mean of that set; with several
    collections there is a mean over all, in which a set counts as one collection; the averages that the experiment names
    stand in its place. A pipeline without a score on a member has no mean.
    """
    layout = _Layout(results)
    values = {name: values_of(results, name) for name in layout.collections}
    expected = {(e.collection, e.pipeline, e.metric): e for e in results.expected}
    tables = [
        layout.table(name, {}, values[name], expected, "collection", name) for name in layout.collections
    ]
    sets = macro_sets(results.collections)
    grouped = {member for members in sets.values() for member in members}
    for name, members in sets.items():
        values[name] = mean_of([values[member] for member in members])
        alone = {member: (member,) for member in members}
        tables.append(layout.table(f"Mean of {name}", alone, values[name], {}, "set", name))
    for average in named_averages(results):
        each = {member: tuple(results.averages[average.name][member]) for member in average.members}
        tables.append(layout.table(average.title, each, average.values, {}, "average", average.name))
    if results.averages:
        return tables
    whole: dict[str, tuple[str, ...]] = {
        **sets,
        **{name: (name,) for name in layout.collections if name not in grouped},
    }
    if len(whole) > 1:
        tables.append(
            layout.table("Mean", whole, mean_of([values[name] for name in whole]), {}, "mean", None)
        )
    return tables


class _Layout:
    """The order of rows and columns: as the experiment says, then what only the scores know."""

    def __init__(self, results: Results) -> None:
        self.baseline = results.baseline
        known = (collection.name for collection in results.collections)
        self.collections = _union(known, (s.collection for s in results.scores))
        self.pipelines = _union(results.pipelines, (s.pipeline for s in results.scores))
        self.metrics = _union(results.metrics, (s.metric for s in results.scores))

    def table(
        self,
        name: str,
        members: Mapping[str, tuple[str, ...]],
        values: Values,
        expected: Mapping[tuple[str, str, str], Expectation],
        kind: Kind,
        of: str | None,
    ) -> ScoreTable:
        best = {metric: _best([values.get((p, metric)) for p in self.pipelines]) for metric in self.metrics}

        def cell(pipeline: str, metric: str) -> Cell:
            value = values.get((pipeline, metric))
            if value is None:
                return Cell(metric, None, reason=_reason(bool(members)))
            base = values.get((self.baseline, metric)) if self.baseline is not None else None
            return Cell(
                metric,
                value,
                best=best[metric] == fmt.metric(value),
                delta=None if base is None or pipeline == self.baseline else value - base,
                expectation=expected.get((name, pipeline, metric)),
            )

        rows = tuple(
            Row(pipeline, pipeline == self.baseline, tuple(cell(pipeline, metric) for metric in self.metrics))
            for pipeline in self.pipelines
        )
        parts = tuple(members.values())
        return ScoreTable(name, tuple(members), self.metrics, self.baseline, rows, kind, of, parts)


def _union(first: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *more]))


def macro_sets(collections: Iterable[CollectionInfo]) -> dict[str, tuple[str, ...]]:
    """Return the sets of which there are several collections, and these: each set counts as one in a mean over collections."""
    sets: dict[str, list[str]] = {}
    for collection in collections:
        if isinstance(macro := collection.policy.get("macro"), str):
            sets.setdefault(macro, []).append(collection.name)
    return {name: tuple(members) for name, members in sets.items() if len(members) > 1}


def _best(column: Sequence[float | None]) -> str | None:
    """Return the highest value as it is shown; None when fewer than two can be compared."""
    present = [value for value in column if value is not None]
    return fmt.metric(max(present)) if len(present) > 1 else None


def _reason(is_mean: bool) -> str:
    return "no mean, because a member has no score" if is_mean else "the run gave no value of this metric"
