"""The growth as files: a page of Markdown, CSV, the chart. Each appears whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from irkit.core.files import write_atomically
from irkit.report.format import DASH, count, duration, metric, size
from irkit.theory.growth import Growth, Size
from irkit.theory.growth_chart import svg

_COSTS = """\
Size: of everything that the stages open. Preparing: loading models and building or opening what is missing, without what an earlier
pipeline of the same run had built already, such as token vectors. A query: in batches, encoding included. Times are
those of the run that computed them, on the device that its stages name.
"""


def write_growth(growth: Growth, folder: Path) -> list[Path]:
    """Write ``growth.md``, ``growth.csv`` and ``growth.svg``, and return their paths.

    Raises:
        ReportError: when the operating system refuses.
    """
    texts = {"md": markdown(growth), "csv": _csv(growth), "svg": svg(growth)}
    for suffix, text in texts.items():
        write_atomically(folder / f"growth.{suffix}", text)
    return [folder / f"growth.{suffix}" for suffix in texts]


def markdown(growth: Growth) -> str:
    """Return a table for every metric, pipelines down and sizes across, and one of costs."""
    lines = ["# Recall as the collection grows", "", f"{growth.what[0].upper()}{growth.what[1:]}.", ""]
    for at, name in enumerate(growth.metrics):
        lines += _table(growth, name, partial(_score, at))
    lines += ["## What it costs", "", _COSTS]
    lines += _table(growth, "size", lambda row: size(row.index_bytes))
    lines += _table(growth, "preparing", lambda row: duration(row.prepare_seconds))
    lines += _table(
        growth, "a query", lambda row: DASH if row.query_ms is None else duration(row.query_ms / 1000)
    )
    if len({row.device for row in growth.rows if row.device}) > 1:
        lines += _table(growth, "model on", lambda row: row.device or DASH)
    if growth.left_out:
        lines += [f"No size of it, and left out: {', '.join(f'`{name}`' for name in growth.left_out)}."]
    return "\n".join(lines).rstrip() + "\n"


def _table(growth: Growth, title: str, cell: Callable[[Size], str]) -> Sequence[str]:
    sizes = growth.sizes
    lines = [f"| {title} | {' | '.join(map(count, sizes))} |", f"|---|{'--:|' * len(sizes)}"]
    for pipeline in growth.pipelines:
        cells = [cell(row) if (row := growth.at(pipeline, n)) else DASH for n in sizes]
        lines.append(f"| `{pipeline}` | {' | '.join(cells)} |")
    return [*lines, ""]


def _score(at: int, row: Size) -> str:
    value = row.scores[at]
    return DASH if value is None else metric(value)


def _csv(growth: Growth) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    costs = ["index_bytes", "prepare_seconds", "query_ms", "device"]
    rows.writerow(["pipeline", "documents", "collection", *growth.metrics, *costs])
    for r in growth.rows:
        scores = ("" if value is None else f"{value:.6f}" for value in r.scores)
        query = "" if r.query_ms is None else f"{r.query_ms:.3f}"
        costs = [str(r.index_bytes), f"{r.prepare_seconds:.2f}", query, r.device or ""]
        rows.writerow([r.pipeline, r.documents, r.collection, *scores, *costs])
    return text.getvalue()
