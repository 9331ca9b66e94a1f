"""The score tables as text: for the terminal, and as Markdown for a README or a paper's supplement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.compare import CompareTable, Comparison, compare_tables
from irkit.report.results import PerQuery, Results
from irkit.report.scores import Cell, Row, ScoreTable, score_tables

if TYPE_CHECKING:
    from rich.table import Table

MARKDOWN = "scores.md"
_CELL = 20
"""The width of a column with differences."""
_MARKS = {"match": "✓", "off": "✗"}


def terminal_tables(results: Results, width: int = 80) -> list[Table]:
    """Return one rich table per collection and mean. Names are printed as they are: markup is inert.

    Where ``width`` characters do not hold the differences to the baseline, they are left out: the report has them.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    tables = []
    for scores in score_tables(results):
        legend = " · ".join(_legend(scores, best="*: best"))
        table = Table(
            title=Text(_title(scores), style="bold"),
            caption=Text(legend, style="dim") if legend else None,
            box=SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        longest = max((len(fmt.plain(row.pipeline) + _role(row)) for row in scores.rows), default=0)
        table.add_column(Text("pipeline"), overflow="fold", min_width=min(longest, 24))
        for metric in scores.metrics:
            table.add_column(Text(fmt.plain(metric)), no_wrap=True)
        needed = longest + 3 + len(scores.metrics) * _CELL
        with_delta = needed <= width and any(
            cell.delta is not None for row in scores.rows for cell in row.cells
        )
        with_mark = any(cell.expectation for row in scores.rows for cell in row.cells)
        for row in scores.rows:
            cells = [
                Text(_fixed(cell, with_delta, with_mark), style="bold" if cell.best else "")
                for cell in row.cells
            ]
            table.add_row(Text(fmt.plain(row.pipeline) + _role(row)), *cells)
        tables.append(table)
    return tables


def markdown(results: Results, per_query: Sequence[PerQuery] = ()) -> str:
    """Return the score tables as GitHub-flavoured Markdown: the best in bold, the legend below each table.

    With ``per_query`` the table of a collection is followed by one of the queries won and lost against the baseline, on the first
    metric that has values.
    """
    parts = [f"# {_escape(results.experiment)}"]
    if results.description:
        parts.append(_escape(results.description))
    if results.left_out:
        parts.append(f"Run on some collections only, without: {', '.join(map(_escape, results.left_out))}.")
    comparisons: dict[str, CompareTable] = {}
    for table in compare_tables(results, per_query):
        comparisons.setdefault(table.collection, table)
    for scores in score_tables(results):
        lines = [
            _line(["pipeline", *map(_escape, scores.metrics)]),
            _line([":--", *("--:" for _ in scores.metrics)]),
            *(_line([_escape(row.pipeline) + _role(row), *map(_cell, row.cells)]) for row in scores.rows),
        ]
        parts += [f"## {_escape(_title(scores))}", "\n".join(lines)]
        if legend := "; ".join(map(_escape, _legend(scores, best="bold: best"))):
            parts.append(f"{legend}.")
        if not scores.members and scores.name in comparisons:
            parts += _comparison(comparisons[scores.name])
    made = results.provenance
    parts.append(f"Made with irkit {_escape(made.irkit)} on {_escape(made.created)}:")
    parts.append(f"    {fmt.plain(made.command)}")
    return "\n\n".join(parts) + "\n"


def write_markdown(results: Results, folder: Path, per_query: Sequence[PerQuery] = ()) -> Path:
    """Write ``scores.md`` into ``folder`` and return its path.

    Raises:
        ReportError: when the folder cannot be written.
    """
    path = folder / MARKDOWN
    write_atomically(path, markdown(results, per_query))
    return path


def _title(scores: ScoreTable) -> str:
    members = f" over {', '.join(scores.members)}" if scores.members else ""
    return fmt.plain(scores.name + members)


def _role(row: Row) -> str:
    return " (baseline)" if row.is_baseline else ""


def _legend(scores: ScoreTable, best: str) -> list[str]:
    cells = [cell for row in scores.rows for cell in row.cells]
    parts = [best] if scores.has_best else []
    if any(cell.delta is not None for cell in cells):
        parts.append(f"+/{fmt.MINUS}: difference to {fmt.plain(scores.baseline or '')}")
    for status, meaning in (("match", "as expected"), ("off", "not as expected")):
        if any(cell.expectation and cell.expectation.status == status for cell in cells):
            parts.append(f"{_MARKS[status]}: {meaning}")
    return parts + [f"{fmt.DASH}: {reason}" for reason in scores.reasons]


def _cell(cell: Cell) -> str:
    if cell.value is None:
        return fmt.DASH
    value = fmt.metric(cell.value)
    parts = [f"**{value}**" if cell.best else value]
    if cell.delta is not None:
        parts.append(f"({fmt.delta(cell.delta)})")
    if cell.expectation:
        parts.append(_MARKS[cell.expectation.status])
    return " ".join(parts)


def _comparison(table: CompareTable) -> list[str]:
    """Return the heading, the table and the legend of the queries won and lost."""
    columns = ["pipeline", "won", "tied", "lost", "mean difference", "d", "p"]
    lines = [
        _line(columns),
        _line([":--", *("--:" for _ in columns[1:])]),
        *(_line([_escape(row.pipeline), *_against(row)]) for row in table.rows),
    ]
    what = f"Against {table.baseline}, query by query, on {table.metric}"
    legend = (
        "d: the mean difference in standard deviations; p: of the two-sided paired t-test, corrected after Holm for "
        f"{fmt.plural(len(table.rows), 'pipeline')}; \\*: below 0.05."
    )
    return [f"### {_escape(what)}", "\n".join(lines), legend]


def _against(row: Comparison) -> list[str]:
    effect = fmt.DASH if row.effect is None else fmt.effect(row.effect)
    p_value = fmt.DASH if row.p_value is None else _escape(fmt.p_value(row.p_value))
    mark = "\\*" if row.significant else ""
    counts = [fmt.count(value) for value in (row.wins, row.ties, row.losses)]
    return [*counts, fmt.delta(row.mean), effect, p_value + mark]


def _fixed(cell: Cell, with_delta: bool, with_mark: bool) -> str:
    """Return a cell whose parts stand at fixed places, so that the decimals of a column are aligned."""
    value = fmt.DASH if cell.value is None else fmt.metric(cell.value)
    text = value + ("*" if cell.best else " ")
    if with_delta:
        text += " " + ("" if cell.delta is None else fmt.delta(cell.delta)).rjust(7)
    if with_mark:
        text += " " + (_MARKS[cell.expectation.status] if cell.expectation else " ")
    return text


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Return ``text`` on one line with every character that Markdown or HTML would obey escaped."""
    return "".join("\\" + char if char in "\\`*_{}[]<>#|~$!&" else char for char in fmt.plain(text))
