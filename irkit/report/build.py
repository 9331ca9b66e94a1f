"""The report: one HTML file that holds everything it shows and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from irkit.config.yaml import dump_yaml
from irkit.core.files import write_atomically
from irkit.core.text import inert
from irkit.report import format as fmt
from irkit.report.changed import changed_tables
from irkit.report.compare import CompareTable, compare_tables
from irkit.report.explained import explained_tables
from irkit.report.reference import tally
from irkit.report.results import PerQuery, Results, load_results
from irkit.report.scores import score_tables
from irkit.report.times import said, stage_times

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Make ``report.html`` from the results in ``folder`` and return its path.

    Raises:
        ReportError: when the results cannot be read or the folder cannot be written.
    """
    results, per_query = load_results(folder)
    path = folder / REPORT
    write_atomically(path, render(results, per_query))
    return path


def render(results: Results, per_query: Sequence[PerQuery]) -> str:
    """Return the page. Every text of the results is escaped, and without control characters; only the page's own script and style
    may run."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    page = Environment(
        loader=PackageLoader("irkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {
        "count": fmt.count,
        "delta": fmt.delta,
        "duration": fmt.duration,
        "effect": fmt.effect,
        "groupby_collection": _by_collection,
        "metric": fmt.metric,
        "moment": _moment,
        "p_value": fmt.p_value,
        "plural": fmt.plural,
        "said": said,
        "size": fmt.size,
        "tally": tally,
    }
    templates = Path(__file__).parent / "templates"
    style = (templates / "style.css").read_text(encoding="utf-8")
    script = (templates / "script.js").read_text(encoding="utf-8")
    tables = score_tables(results)
    times = stage_times(results)
    rows = [row for table in times for pipeline in table.pipelines for row in pipeline.rows]
    html = page.get_template("report.html").render(
        results=results,
        # The means first: they are what a reader of many collections looks for.
        tables=sorted(tables, key=lambda table: not table.members),
        times=times,
        opens_nothing=any(not row.time.artifact_bytes for row in rows),
        unknown_count=any(row.per_query is None for row in rows),
        comparisons=compare_tables(results, per_query),
        changed=changed_tables(per_query),
        explained=explained_tables(per_query),
        off=sum(item.status == "off" for item in results.expected),
        yaml=dump_yaml({"pipelines": results.pipelines}),
        style=Markup(style),  # noqa: S704 - the package's own files
        script=Markup(script),  # noqa: S704
        hashes={"style": _csp_hash(style), "script": _csp_hash(script)},
    )
    return inert(html)


def _by_collection(tables: Sequence[CompareTable]) -> list[list[CompareTable]]:
    return [list(group) for _, group in groupby(tables, key=lambda table: table.collection)]


def _moment(iso: str) -> str:
    """Return a time as a person writes it, in UTC; a text that is no time stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if when.tzinfo is None:
        return f"{when.day} {when:%B %Y, %H:%M}"
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def _csp_hash(text: str) -> str:
    """Return the source expression with which a Content-Security-Policy admits exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
