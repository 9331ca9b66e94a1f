"""The measured cost of pipelines as tables: for the terminal, a README, a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.efficiency import Efficiency, PipelineEfficiency, StageEfficiency
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
)


def terminal_tables(efficiency: Efficiency) -> list[Table]:
    """Return one rich table of pipelines for each collection. Names are printed as they are: markup is inert."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    tables = []
    for collection, pipelines in _by_collection(efficiency):
        columns = [*_COLUMNS, *_extra(pipelines)]
        table = Table(
            title=Text(fmt.plain(collection), style="bold"),
            box=SIMPLE_HEAD,
            title_justify="left",
            pad_edge=False,
        )
        longest = max(len(fmt.plain(each.pipeline)) for each in pipelines)
        table.add_column(Text("pipeline"), overflow="fold", min_width=min(longest, 24))
        for column in columns:
            table.add_column(Text(column), justify="right", no_wrap=True)
        for each in pipelines:
            cells = [*_cells(each, each.bytes), *_extra_cells(each, columns)]
            table.add_row(Text(fmt.plain(each.pipeline)), *map(Text, cells))
        tables.append(table)
    return tables


def legend(efficiency: Efficiency) -> str:
    """Return in one paragraph how the figures came to be, and what was in the way of good ones."""
    sizes = {each.latency.samples for each in efficiency.pipelines}
    counts = " to ".join(map(fmt.count, sorted({min(sizes, default=0), max(sizes, default=0)})))
    threads = fmt.plural(efficiency.threads, "thread")
    parts = [
        f"{efficiency.machine}; device {efficiency.device}; {threads}.",
        f"Latency: one query at a time, {counts} queries, evenly spaced, after {efficiency.warmup} others.",
        "Queries/s: all of them in one batch, the median of 3.",
        "Size: of what the stages open in the store. GFLOP: a query, what torch counts.",
        f"Memory: growth of the process's resident memory to its peak ({efficiency.memory_by})"
        + ("; a process for each pipeline." if efficiency.isolated else "; one process for all."),
    ]
    busiest = max((each.load for each in efficiency.pipelines if each.load is not None), default=0.0)
    if busiest >= 1:
        parts.append(f"The machine was busy: up to {busiest:g} processes wanted a processor before it began.")
    return " ".join(map(fmt.plain, parts))


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
            [escape(each.pipeline), *_cells(each, each.bytes), *_extra_cells(each, columns)]
            for each in pipelines
        ]
        parts += [f"## {escape(collection)}", _markdown_table(["pipeline", *columns], rows, 1)]
        stages = [stage for stage in efficiency.stages if stage.collection == collection]
        columns = [*_STAGE_COLUMNS, *_extra(stages)]
        rows = [
            [
                *(escape(each.pipeline), escape(each.label)),
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
    parts.append(f"Made with irkit {escape(efficiency.irkit)} on {escape(efficiency.created)}:")
    parts.append(f"    {fmt.plain(efficiency.command)}")
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
        fmt.DASH if each.flops is None else _three(each.flops / 1e9),
        fmt.DASH if each.memory is None else fmt.size(each.memory),
    ]


def _extra(rows: Sequence[PipelineEfficiency] | Sequence[StageEfficiency]) -> list[str]:
    """Return the columns that only some tables need."""
    kinds = dict.fromkeys(kind for each in rows for kind in each.tokens)
    device = ["device memory"] if any(each.device_memory is not None for each in rows) else []
    return [*device, *(f"{kind} tokens" for kind in kinds)]


def _extra_cells(each: PipelineEfficiency | StageEfficiency, columns: Sequence[str]) -> list[str]:
    cells = []
    for column in columns:
        if column == "device memory":
            cells.append(fmt.DASH if each.device_memory is None else fmt.size(each.device_memory))
        elif column.endswith(" tokens"):
            count = each.tokens.get(column.removesuffix(" tokens"))
            cells.append(fmt.DASH if count is None else _three(count))
    return cells


def _csv_rows(efficiency: Efficiency) -> Iterator[list[Any]]:
    for each in efficiency.pipelines:
        yield [each.collection, each.pipeline, *[None] * 5, *_csv_common(each, each.bytes), None, None]
        for stage in efficiency.stages:
            if (stage.collection, stage.pipeline) == (each.collection, each.pipeline):
                size = sum(build.bytes for build in stage.builds)
                yield [
                    *(stage.collection, stage.pipeline, stage.position, stage.stage, stage.label),
                    *(stage.cold_seconds, stage.first_ms),
                    *_csv_common(stage, size),
                    *(stage.differing, "; ".join(stage.notes) or None),
                ]


def _csv_common(each: PipelineEfficiency | StageEfficiency, size: int) -> list[Any]:
    taken = each.latency
    tokens = "; ".join(f"{kind} {count:g}" for kind, count in each.tokens.items())
    return [
        *(taken.samples, taken.mean, taken.p50, taken.p95, taken.p99),
        *(each.throughput, size, each.flops, tokens or None, each.memory, each.device_memory),
    ]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    aligned = [":--" if number < texts else "--:" for number in range(len(columns))]
    return "\n".join(table_line(row) for row in [columns, aligned, *rows])


def _three(value: float) -> str:
    return fmt.three(value) if value else "0"
