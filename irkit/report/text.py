"""The score tables as text: for the terminal, and as Markdown for a README or a paper's supplement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.compare import CompareTable, Comparison, compare_tables
from irkit.report.details import Funnel
from irkit.report.lost import lost_rows
from irkit.report.narrow import room_for
from irkit.report.pairs import Family, Pair, families
from irkit.report.reference import reference_markdown
from irkit.report.results import PerQuery, Results
from irkit.report.scores import UNTESTED, Cell, Row, ScoreTable, score_tables
from irkit.report.tested import Column, columns_of, first_families

if TYPE_CHECKING:
    from rich.table import Table

MARKDOWN = "scores.md"
_MARKS = {"match": "✓", "off": "✗"}


def terminal_tables(results: Results, width: int = 80, per_query: Sequence[PerQuery] = ()) -> list[Table]:
    """Return one rich table per collection and mean. Names are printed as they are: markup is inert.

    With ``per_query`` a collection's table has a column of what the experiment's tests say of the first metric. Where ``width``
    characters do not hold the differences to the baseline, or this column, they are left out, which the table says.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    tables = []
    tested = first_families(results, per_query)
    for scores in score_tables(results):
        with_mark = any(cell.expectation for row in scores.rows for cell in row.cells)
        columns = [] if scores.members else _tests(scores, tested.get(scores.name))
        known = columns[0].letters if columns else {}
        room = room_for(scores, columns, [_named(row, known) for row in scores.rows], width)
        column = room.column
        names = [_named(row, column.letters if column is not None else {}) for row in scores.rows]
        longest = max(map(len, names), default=0)
        told = [column.legend] if column is not None else []
        if room.missing:
            told.append(f"not shown at this width: {'; '.join(room.missing)}; {MARKDOWN} has them")
        legend = " · ".join([*_legend(scores, "*: best", room.deltas), *map(fmt.plain, told)])
        table = Table(
            title=Text(_title(scores), style="bold"),
            caption=Text(legend, style="dim") if legend else None,
            box=SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        table.add_column(Text("pipeline"), overflow="fold", min_width=min(longest, 24))
        for metric in scores.metrics:
            table.add_column(Text(fmt.plain(metric)), no_wrap=True)
        if column is not None:
            table.add_column(Text(column.head), no_wrap=True)
        for name, row in zip(names, scores.rows, strict=True):
            shown = [
                Text(_fixed(cell, place < room.deltas, with_mark), style="bold" if cell.best else "")
                for place, cell in enumerate(row.cells)
            ]
            if column is not None:
                shown.append(Text(column.cells.get(row.pipeline, "")))
            table.add_row(Text(name), *shown)
        tables.append(table)
    return tables


def markdown(
    results: Results,
    per_query: Sequence[PerQuery] = (),
    tested: Sequence[Family] | None = None,
    funnels: Sequence[Funnel] = (),
) -> str:
    """Return the score tables as GitHub-flavoured Markdown: the best in bold, the legend below each table.

    With ``per_query`` the table of a collection is followed by one of the queries won and lost, on the first metric that has
    values: against the baseline, or of all pairs where the experiment tests them. ``tested`` are its families where they are at
    hand already. With ``funnels`` the table of a collection is followed by one of where relevant documents are lost.
    """
    parts = [f"# {escape(results.experiment)}"]
    if results.description:
        parts.append(escape(results.description))
    if results.left_out:
        parts.append(f"Run on some collections only, without: {', '.join(map(escape, results.left_out))}.")
    if results.left_out_pipelines:
        parts.append(f"Without the pipelines {', '.join(map(escape, results.left_out_pipelines))}.")
    if results.kept:
        parts.append(f"From the store, of earlier runs: {', '.join(map(escape, results.kept))}.")
    if results.kept_pipelines:
        parts.append(f"Pipelines from the store: {', '.join(map(escape, results.kept_pipelines))}.")
    chosen = families(results, per_query) if tested is None else tested
    compared: dict[str, list[str]] = {}
    if results.statistics.pairs == "all":
        for family in chosen:
            compared.setdefault(family.collection, _all_pairs(family))
    else:
        for table in compare_tables(results, per_query, chosen):
            compared.setdefault(table.collection, _comparison(table))
    for scores in score_tables(results):
        lines = [
            table_line(["pipeline", *map(escape, scores.metrics)]),
            table_line([":--", *("--:" for _ in scores.metrics)]),
            *(table_line([escape(row.pipeline) + _role(row), *map(_cell, row.cells)]) for row in scores.rows),
        ]
        parts += [f"## {escape(_title(scores))}", "\n".join(lines)]
        if legend := "; ".join(map(escape, _legend(scores, best="bold: best"))):
            parts.append(f"{legend}.")
        parts += [f"{UNTESTED}."] if scores.members else compared.get(scores.name, [])
        parts += _lost([funnel for funnel in funnels if funnel.collection == scores.name])
    parts += reference_markdown(results)
    made = results.provenance
    command, last = results.commands
    parts.append(f"Made with irkit {escape(made.irkit)} on {escape(made.created)}:")
    parts.append(f"    {fmt.plain(command)}")
    if last is not None:
        parts += ["The last run of it, on a part; the rest is of earlier runs:", f"    {fmt.plain(last)}"]
    return "\n\n".join(parts) + "\n"


def write_markdown(
    results: Results,
    folder: Path,
    per_query: Sequence[PerQuery] = (),
    tested: Sequence[Family] | None = None,
    funnels: Sequence[Funnel] = (),
) -> Path:
    """Write ``scores.md`` into ``folder`` and return its path.

    Raises:
        ReportError: when the folder cannot be written.
    """
    path = folder / MARKDOWN
    write_atomically(path, markdown(results, per_query, tested, funnels))
    return path


def _tests(scores: ScoreTable, family: Family | None) -> list[Column]:
    pipelines = [row.pipeline for row in scores.rows]
    return [] if family is None else columns_of(family, scores.baseline, pipelines)


def _named(row: Row, letters: Mapping[str, str]) -> str:
    letter = f"{letters[row.pipeline]}: " if letters else ""
    return letter + fmt.plain(row.pipeline) + _role(row)


def _title(scores: ScoreTable) -> str:
    members = f" over {', '.join(scores.members)}" if scores.members else ""
    return fmt.plain(scores.name + members)


def _role(row: Row) -> str:
    return " (baseline)" if row.is_baseline else ""


def _legend(scores: ScoreTable, best: str, deltas: int | None = None) -> list[str]:
    """Return what marks mean. The differences of the first ``deltas`` metrics are shown, of all when None."""
    cells = [cell for row in scores.rows for cell in row.cells]
    parts = [best] if scores.has_best else []
    if any(cell.delta is not None for row in scores.rows for cell in row.cells[:deltas]):
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
    judged = table.judged_at is not None
    columns = ["pipeline", *_compared(table.level), *([f"judged@{table.judged_at}"] if judged else [])]
    lines = [
        table_line(columns),
        table_line([":--", *("--:" for _ in columns[1:])]),
        *(
            table_line([escape(row.pipeline), *_against(row), *([_share(row.judged)] if judged else [])])
            for row in table.rows
        ),
    ]
    what = f"Against {table.baseline}, query by query, on {table.metric}"
    legend = _tested(table.how, table.alpha)
    if judged:
        legend += f" judged@{table.judged_at}, the share of the first hits that is judged, is {_share(table.judged)} for "
        legend += f"{escape(table.baseline)}."
    return [f"### {escape(what)}", "\n".join(lines), legend]


def _all_pairs(family: Family) -> list[str]:
    """Return the same for all pairs."""
    columns = ["pipeline", "against", *_compared(family.statistics.level)]
    lines = [
        table_line(columns),
        table_line([":--", ":--", *("--:" for _ in columns[2:])]),
        *(table_line([escape(pair.ours), escape(pair.other), *_against(pair)]) for pair in family.pairs),
    ]
    legend = _tested(family.how, family.statistics.alpha)
    if family.judged:
        shares = (f"{escape(name)} {_share(value)}" for name, value in family.judged.items())
        legend += (
            f" judged@{family.judged_at}, the share of the first hits that is judged: {', '.join(shares)}."
        )
    return [f"### {escape(f'All pairs, query by query, on {family.metric}')}", "\n".join(lines), legend]


def _lost(funnels: Sequence[Funnel]) -> list[str]:
    """Return the heading, the table and the legend of where relevant documents are lost; nothing without funnels."""
    if not funnels:
        return []
    first = f"in the first {funnels[0].k}"
    lines = [
        table_line(["pipeline", "stage", "relevant documents", first, "lost here"]),
        table_line([":--", ":--", "--:", "--:", "--:"]),
        *(table_line([escape(cell) for cell in row]) for row in lost_rows(funnels)),
    ]
    legend = (
        f"Of {fmt.plural(funnels[0].total, 'relevant document')} of {fmt.plural(funnels[0].queries, 'query')}. "
        "Lost: given to the stage and not in its output."
    )
    return ["### Where relevant documents are lost", "\n".join(lines), legend]


def _compared(level: float) -> list[str]:
    return ["won", "tied", "lost", "mean difference", f"{100 * level:g} % interval", "d", "p"]


def _tested(how: str, alpha: float) -> str:
    return (
        "Interval: the bootstrap's, of the mean difference; d: the mean difference in standard deviations; "
        f"p: {how}; \\*: below {alpha:g}."
    )


def _against(row: Comparison | Pair) -> list[str]:
    interval = fmt.DASH if row.interval is None else " to ".join(map(fmt.delta, row.interval))
    effect = fmt.DASH if row.effect is None else fmt.effect(row.effect)
    p_value = fmt.DASH if row.p_value is None else escape(fmt.p_value(row.p_value))
    mark = "\\*" if row.significant else ""
    counts = [fmt.count(value) for value in (row.wins, row.ties, row.losses)]
    return [*counts, fmt.delta(row.mean), interval, effect, p_value + mark]


def _share(value: float | None) -> str:
    return fmt.DASH if value is None else fmt.metric(value)


def _fixed(cell: Cell, with_delta: bool, with_mark: bool) -> str:
    """Return a cell whose parts stand at fixed places, so that the decimals of a column are aligned."""
    value = fmt.DASH if cell.value is None else fmt.metric(cell.value)
    text = value + ("*" if cell.best else " ")
    if with_delta:
        text += " " + ("" if cell.delta is None else fmt.delta(cell.delta)).rjust(7)
    if with_mark:
        text += " " + (_MARKS[cell.expectation.status] if cell.expectation else " ")
    return text


def table_line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Return ``text`` on one line with every character that Markdown or HTML would obey escaped."""
    return "".join("\\" + char if char in "\\`*_{}[]<>#|~$!&" else char for char in fmt.plain(text))
