"""The scores and the values per query as tables for a spreadsheet or a notebook: CSV, and Parquet where pyarrow is installed.

CSV is that of RFC 4180 in UTF-8, with a header. Numbers have all their digits; a value that is missing is an empty cell. Names
come from collections and files of others, and a spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula:
so a text that begins so, after white space too, gets an apostrophe in front, as OWASP advises, and so does one that begins with an
apostrophe. To read a text back, take one leading apostrophe away. Parquet needs none of this and holds the names as they are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from irkit.core.files import write_atomically, write_bytes_atomically
from irkit.core.text import well_formed
from irkit.report.pairs import Family, families
from irkit.report.results import PerQuery, Results
from irkit.report.scores import Cell, ScoreTable, score_tables

SCORES = "scores.csv"
PER_QUERY_CSV, PER_QUERY_PARQUET = "per_query.csv", "per_query.parquet"
SCORE_COLUMNS = (
    "collection",
    "kind",
    "pipeline",
    "metric",
    "value",
    "best",
    "baseline",
    "difference",
    "interval_low",
    "interval_high",
    "effect",
    "p_value",
    "significant",
    "wins",
    "ties",
    "losses",
    "queries",
    "judged",
    "expected",
    "status",
)
_FORMULA = tuple("=+-@＝＋－＠'\t\r\n\0")  # noqa: RUF001 - spreadsheets take the wide forms too


def scores_csv(
    results: Results, per_query: Sequence[PerQuery] = (), tested: Sequence[Family] | None = None
) -> str:
    """Return a row for each table, pipeline and metric, with the columns ``SCORE_COLUMNS``.

    ``kind`` is ``collection`` or ``mean``. The columns from ``difference`` to ``losses`` compare with ``baseline``; tests are
    made on collections only. ``judged`` is the share of the first hits that is judged at all.
    """
    chosen = families(results, per_query) if tested is None else tested
    by_place = {(family.collection, family.metric): family for family in chosen}
    rows = (row for table in score_tables(results) for row in _score_rows(table, by_place))
    return csv_text(SCORE_COLUMNS, rows)


def write_scores(
    results: Results, folder: Path, per_query: Sequence[PerQuery] = (), tested: Sequence[Family] | None = None
) -> Path:
    """Write ``scores.csv`` into ``folder`` and return its path.

    Raises:
        ReportError: when the folder cannot be written.
    """
    path = folder / SCORES
    write_atomically(path, scores_csv(results, per_query, tested))
    return path


def write_per_query(results: Results, folder: Path, per_query: Sequence[PerQuery]) -> Path:
    """Write the values per query, a row for each collection, pipeline and query and a column for each metric; return the path.

    As Parquet where pyarrow is installed, else as CSV; the file in the other form, from an earlier run, goes.

    Raises:
        ReportError: when the folder cannot be written.
    """
    parquet = find_spec("pyarrow") is not None
    path = folder / (PER_QUERY_PARQUET if parquet else PER_QUERY_CSV)
    if parquet:
        write_bytes_atomically(path, _parquet(results, per_query))
    else:
        write_atomically(path, per_query_csv(results, per_query))
    (folder / (PER_QUERY_CSV if parquet else PER_QUERY_PARQUET)).unlink(missing_ok=True)
    return path


def per_query_csv(results: Results, per_query: Sequence[PerQuery]) -> str:
    """Return the values per query as CSV: ``collection``, ``pipeline``, ``qid``, the metrics, and ``judged@k`` where known."""
    columns = _per_query_columns(results, per_query)
    return csv_text(columns, zip(*columns.values(), strict=True))


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: see above."""
    dangerous = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if dangerous else text


def _score_rows(table: ScoreTable, tested: Mapping[tuple[str, str], Family]) -> Iterator[list[Any]]:
    kind = "mean" if table.members else "collection"
    for row in table.rows:
        for cell in row.cells:
            family = None if table.members else tested.get((table.name, cell.metric))
            yield [
                table.name,
                kind,
                row.pipeline,
                cell.metric,
                cell.value,
                cell.best,
                table.baseline,
                cell.delta,
                *_test(family, row.pipeline, table.baseline),
                *_expected(cell),
            ]


def _test(family: Family | None, pipeline: str, baseline: str | None) -> list[Any]:
    if family is None:
        return [None] * 10
    judged = family.judged.get(pipeline)
    pair = next((p for p in family.pairs if (p.ours, p.other) == (pipeline, baseline)), None)
    if pair is None:
        return [*[None] * 8, family.queries, judged]
    low, high = pair.interval or (None, None)
    counts = [pair.wins, pair.ties, pair.losses, family.queries]
    return [low, high, pair.effect, pair.p_value, pair.significant, *counts, judged]


def _expected(cell: Cell) -> list[Any]:
    return [cell.expectation.expected, cell.expectation.status] if cell.expectation else [None, None]


def _per_query_columns(results: Results, per_query: Sequence[PerQuery]) -> dict[str, list[Any]]:
    """Return the columns; a name that a metric has already (``judged@10``) is not taken twice."""
    extra = {f"judged@{each.judged_at}" for each in per_query if each.judged} - set(results.metrics)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("collection", "pipeline", "qid", *results.metrics, *sorted(extra))
    }
    for each in per_query:
        count = len(each.qid)
        for pipeline, values in each.values.items():
            columns["collection"] += [each.collection] * count
            columns["pipeline"] += [pipeline] * count
            columns["qid"] += each.qid
            for metric in results.metrics:
                columns[metric] += values.get(metric) or [None] * count
            for name in extra:
                known = name == f"judged@{each.judged_at}"
                columns[name] += (each.judged.get(pipeline) if known else None) or [None] * count
    return columns


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a header and rows as CSV, texts guarded."""
    """Return a table as CSV, as above."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(_written, columns))
    writer.writerows(map(_written, row) for row in rows)
    return text.getvalue()


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return guarded(well_formed(value)) if isinstance(value, str) else value


def _parquet(results: Results, per_query: Sequence[PerQuery]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = {
        name: [well_formed(each) if isinstance(each, str) else each for each in column]
        for name, column in _per_query_columns(results, per_query).items()
    }
    words = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    kinds = {"collection": words, "pipeline": words, "qid": pyarrow.string()}
    table = pyarrow.table(
        {name: pyarrow.array(column, kinds.get(name, pyarrow.float64())) for name, column in columns.items()}
    )
    made = {
        "experiment": results.experiment,
        "created": results.provenance.created,
        "irkit": results.provenance.irkit,
    }
    sink = BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(made), sink)
    return sink.getvalue()
