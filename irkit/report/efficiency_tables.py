"""The measured cost of pipelines as tables: for the terminal, a README, a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.efficiency import DRIFT, Efficiency, PipelineEfficiency, StageEfficiency
from irkit.report.tabular import csv_text
from irkit.report.text import escape, table_line

if TYPE_CHECKING:
    from rich.table import Table

MARKDOWN, CSV = "efficiency.md", "efficiency.csv"
_COLUMNS = ("p50 ms", "p95 ms", "p99 ms", "queries/s", "size", "GFLOP", "memory")
_STAGE_COLUMNS = ("cold s", "first ms", *_COLUMNS)
CSV_COLUMNS = (
    "collection",
    "pipeline",
    "position",
    "stage",
    "label",
    "cold_seconds",
    "first_ms",
    "samples",
    "mean_ms",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "queries_per_second",
    "bytes",
    "flops",
    "tokens",
    "memory",
    "device_memory",
    "differing",
    "notes",
    "flops_at_least",
    "excludes",
    "warmed",
    "steady",
    "drift",
    "device",
    "load",
    "created",
)
_NAME = 24
"""Characters of a pipeline's name in a terminal; a longer one goes on in the next line."""
MARK = "*"
"""After the names of pipelines whose figures leave out what a new query needs."""


def terminal_tables(efficiency: Efficiency, width: int | None = None) -> list[Table]:
    """Return rich tables of pipelines for each collection: one, or as many as columns need that are not to be wider than ``width``.

    Names are whole, in as many lines as they need, and printed as they are: markup is inert.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    tables = []
    for collection, pipelines in _by_collection(efficiency):
        columns = [*_COLUMNS, *_extra(pipelines)]
        rows = [[*_cells(each, each.bytes), *_extra_cells(each, columns)] for each in pipelines]
        names = [fmt.plain(_marked(each)) for each in pipelines]
        longest = min(max(map(len, ("pipeline", *names))), _NAME)
        for part in _parts(columns, rows, None if width is None else width - longest - 2):
            table = Table(
                title=Text(fmt.plain(collection), style="bold"),
                box=SIMPLE_HEAD,
                title_justify="left",
                pad_edge=False,
            )
            table.add_column(Text("pipeline"), overflow="fold", min_width=longest)
            for place in part:
                table.add_column(Text(columns[place]), justify="right", no_wrap=True)
            for name, cells in zip(names, rows, strict=True):
                table.add_row(Text(name), *(Text(cells[place]) for place in part))
            tables.append(table)
    return tables


def _parts(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[range]:
    """Return the columns of each table, none wider than that, each column after three blanks. One at least has a place."""
    wide = [3 + max(map(len, (column, *cells))) for column, *cells in zip(columns, *rows, strict=True)]
    parts, start = [], 0
    while start < len(columns):
        stop = start + 1
        while stop < len(columns) and (width is None or sum(wide[start : stop + 1]) <= width):
            stop += 1
        parts.append(range(start, stop))
        start = stop
    return parts


def legend(efficiency: Efficiency) -> str:
    """Return in one paragraph how the figures came to be, and what was in the way of good ones."""
    pipelines = efficiency.pipelines
    sizes = {each.latency.samples for each in pipelines}
    warmed = {each.latency.warmed for each in pipelines}
    threads = fmt.plural(efficiency.threads, "thread")
    parts = [
        f"{efficiency.machine}; device {efficiency.device}; {threads}.",
        f"Latency: one query at a time, {_from_to(sizes)} queries, evenly spaced, each of which had run before,"
        + (
            f" after {_from_to(warmed)} runs of others, {_until(pipelines)}."
            if any(warmed)
            else " with no others run to warm up: --warmup 0."
        ),
        *(
            ["Of up to 100 queries, p99 lies between the two slowest."]
            if min(sizes, default=0) <= 100
            else []
        ),
        "Queries/s: all of them in one batch, the median of 3.",
        "Size: of what the stages open in the store. GFLOP: a query, what torch counts, the mean of 5 that are evenly spaced"
        + (
            "; \N{GREATER-THAN OR EQUAL TO}: other code does a part of the work."
            if _at_least(pipelines)
            else "."
        ),
        f"Memory: growth of the process's resident memory to its peak ({efficiency.memory_by})"
        + ("; a process for each pipeline." if efficiency.isolated else "; one process for all."),
    ]
    left_out = dict.fromkeys(what for each in pipelines for what in each.excludes)
    if left_out:
        parts.append(
            f"{MARK} Without {', '.join(left_out)}, which a new query needs: no time, memory or operations of it are in these"
            " figures; tokens are those that it took."
        )
    return " ".join(map(fmt.plain, [*parts, *warnings(efficiency)]))


def warnings(efficiency: Efficiency) -> list[str]:
    """Return what was in the way of good figures."""
    said = []
    sessions = list(efficiency.sessions())
    if len(sessions) > 1:
        said.append(f"Measured in {len(sessions)} sessions, from {sessions[0]} to {sessions[-1]}.")
    busy = [each.load for each in efficiency.pipelines if each.busy and each.load is not None]
    if busy:
        said.append(
            f"The machine was busy: up to {max(busy):g} processes wanted a processor in the minute before it began."
        )
    drifted = dict.fromkeys(each.pipeline for each in efficiency.pipelines if each.latency.drifted)
    if drifted:
        said.append(
            f"The machine did not keep its pace: half of the queries took more than {DRIFT:g} times as long as the other half"
            f" of {', '.join(drifted)}. Measure again."
        )
    return said


def _from_to(counts: Iterable[int]) -> str:
    ordered = sorted(counts)
    return " to ".join(map(fmt.count, dict.fromkeys((ordered[0], ordered[-1])))) if ordered else "0"


def _until(rows: Iterable[PipelineEfficiency]) -> str:
    if all(each.latency.steady for each in rows):
        return "until their median changed by less than 5 %"
    return "of some for 10 s although their times still changed"


def _at_least(rows: Iterable[PipelineEfficiency]) -> bool:
    return any(each.flops_at_least for each in rows)


def _marked(each: PipelineEfficiency | StageEfficiency) -> str:
    return f"{each.pipeline} {MARK}" if each.excludes else each.pipeline


def remarks(efficiency: Efficiency) -> list[str]:
    """Return what has to be known of single stages, each said once, with the pipelines and collections that it is true of."""
    everywhere = len({each.collection for each in efficiency.pipelines})
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for stage in efficiency.stages:
        for note in stage.notes:
            pipelines, collections = found.setdefault((stage.stage, note), (set(), set()))
            pipelines.add(stage.pipeline)
            collections.add(stage.collection)
    said = []
    for (name, note), (pipelines, collections) in found.items():
        where = f" on {', '.join(sorted(collections))}" if len(collections) < everywhere else ""
        said.append(fmt.plain(f"{name} in {', '.join(sorted(pipelines))}{where}: {note}"))
    return said


def markdown(efficiency: Efficiency) -> str:
    """Return the tables of pipelines and of their stages as GitHub-flavoured Markdown."""
    parts = [f"# {escape(efficiency.experiment)}: what it costs", escape(legend(efficiency))]
    for collection, pipelines in _by_collection(efficiency):
        columns = [*_COLUMNS, *_extra(pipelines)]
        rows = [
            [escape(_marked(each)), *_cells(each, each.bytes), *_extra_cells(each, columns)]
            for each in pipelines
        ]
        parts += [f"## {escape(collection)}", _markdown_table(["pipeline", *columns], rows, 1)]
        stages = [stage for stage in efficiency.stages if stage.collection == collection]
        columns = [*_STAGE_COLUMNS, *_extra(stages)]
        rows = [
            [
                *(escape(_marked(each)), escape(each.label)),
                *(_three(round(each.cold_seconds, 3)), _three(each.first_ms)),
                *_cells(each, sum(build.bytes for build in each.builds)),
                *_extra_cells(each, columns),
            ]
            for each in stages
        ]
        parts.append(_markdown_table(["pipeline", "stage", *columns], rows, 2))
    said = [f"- {escape(remark)}" for remark in remarks(efficiency)]
    if said:
        parts.append("\n".join(said))
    for created, command in efficiency.sessions().items():
        parts.append(f"Made with irkit {escape(efficiency.irkit)} on {escape(created)}:")
        parts.append(f"    {fmt.plain(command)}")
    return "\n\n".join(parts) + "\n"


def csv(efficiency: Efficiency) -> str:
    """Return a row for each pipeline, whose position and stage are empty, and one for each stage, with ``CSV_COLUMNS``."""
    return csv_text(CSV_COLUMNS, _csv_rows(efficiency))


def write_tables(efficiency: Efficiency, folder: Path) -> None:
    """Write ``efficiency.md`` and ``efficiency.csv`` into ``folder``.

    Raises:
        ReportError: when the folder cannot be written.
    """
    write_atomically(folder / MARKDOWN, markdown(efficiency))
    write_atomically(folder / CSV, csv(efficiency))


def _by_collection(efficiency: Efficiency) -> Iterator[tuple[str, list[PipelineEfficiency]]]:
    for collection in dict.fromkeys(each.collection for each in efficiency.pipelines):
        yield collection, [each for each in efficiency.pipelines if each.collection == collection]


def _cells(each: PipelineEfficiency | StageEfficiency, size: int) -> list[str]:
    taken = each.latency
    return [
        *map(_three, (taken.p50, taken.p95, taken.p99)),
        fmt.DASH if each.throughput is None else _three(each.throughput),
        fmt.size(size) if size else fmt.DASH,
        fmt.DASH
        if each.flops is None
        else "\N{GREATER-THAN OR EQUAL TO}" * each.flops_at_least + _three(each.flops / 1e9),
        fmt.DASH if each.memory is None else fmt.size(each.memory),
    ]


def _extra(rows: Sequence[PipelineEfficiency] | Sequence[StageEfficiency]) -> list[str]:
    """Return the columns that only some tables need."""
    kinds = dict.fromkeys(kind for each in rows for kind in each.tokens)
    device = ["device memory"] if any(each.device_memory is not None for each in rows) else []
    if len({each.device for each in rows if isinstance(each, PipelineEfficiency)}) > 1:
        device.append("device")
    return [*device, *(f"{kind} tokens" for kind in kinds)]


def _extra_cells(each: PipelineEfficiency | StageEfficiency, columns: Sequence[str]) -> list[str]:
    cells = []
    for column in columns:
        if column == "device" and isinstance(each, PipelineEfficiency):
            cells.append(fmt.plain(each.device))
        elif column == "device memory":
            cells.append(fmt.DASH if each.device_memory is None else fmt.size(each.device_memory))
        elif column.endswith(" tokens"):
            count = each.tokens.get(column.removesuffix(" tokens"))
            cells.append(fmt.DASH if count is None else _three(count))
    return cells


def _csv_rows(efficiency: Efficiency) -> Iterator[list[Any]]:
    for each in efficiency.pipelines:
        yield [
            *(each.collection, each.pipeline, *[None] * 5, *_csv_common(each, each.bytes), None, None),
            *_csv_quality(each),
            *(each.device, each.load, each.created or efficiency.created),
        ]
        for stage in efficiency.stages:
            if (stage.collection, stage.pipeline) == (each.collection, each.pipeline):
                size = sum(build.bytes for build in stage.builds)
                yield [
                    *(stage.collection, stage.pipeline, stage.position, stage.stage, stage.label),
                    *(stage.cold_seconds, stage.first_ms),
                    *_csv_common(stage, size),
                    *(stage.differing, "; ".join(stage.notes) or None),
                    *_csv_quality(stage),
                    *[None] * 3,
                ]


def _csv_common(each: PipelineEfficiency | StageEfficiency, size: int) -> list[Any]:
    taken = each.latency
    tokens = "; ".join(f"{kind} {count:g}" for kind, count in each.tokens.items())
    return [
        *(taken.samples, taken.mean, taken.p50, taken.p95, taken.p99),
        *(each.throughput, size, each.flops, tokens or None, each.memory, each.device_memory),
    ]


def _csv_quality(each: PipelineEfficiency | StageEfficiency) -> list[Any]:
    taken = each.latency
    at_least = None if each.flops is None else each.flops_at_least
    return [at_least, "; ".join(each.excludes) or None, taken.warmed, taken.steady, taken.drift]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    aligned = [":--" if number < texts else "--:" for number in range(len(columns))]
    return "\n".join(table_line(row) for row in [columns, aligned, *rows])


def _three(value: float) -> str:
    return fmt.three(value) if value else "0"
