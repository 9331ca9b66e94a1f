"""The report: one HTML file that holds everything it shows and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from irkit.config.yaml import dump_yaml
from irkit.core.files import write_atomically
from irkit.core.text import inert
from irkit.report import format as fmt
from irkit.report.details import DetailsFile, load_details
from irkit.report.efficiency import Efficiency, load_efficiency
from irkit.report.page import page_of
from irkit.report.pairs import Family, families
from irkit.report.reference import tally
from irkit.report.results import PerQuery, Results, load_results
from irkit.report.scores import score_tables
from irkit.report.times import said

REPORT = "report.html"
SCRIPTS = (
    "tables.js",
    "core.js",
    "charts.js",
    "scores.js",
    "leaderboard.js",
    "plots.js",
    "pareto.js",
    "funnel.js",
    "strip.js",
    "query.js",
    "explorer.js",
    "pairs.js",
    "costs.js",
)
"""In ``assets``: one script of the page, in this order."""


def write_report(
    folder: Path,
    saved: tuple[Results, Sequence[PerQuery]] | None = None,
    tested: Sequence[Family] | None = None,
) -> Path:
    """Make ``report.html`` from the results in ``folder``, with the details and the measurements beside them; return its path.

    Args:
        folder: of a run.
        saved: what :func:`~irkit.report.results.load_results` would read there, if it is at hand already.
        tested: the families of tests of these results, likewise: a large experiment takes seconds.

    Raises:
        ReportError: when something there cannot be read, or the folder cannot be written.
    """
    results, per_query = load_results(folder) if saved is None else saved
    path = folder / REPORT
    details, efficiency = load_details(folder, results), load_efficiency(folder)
    write_atomically(path, render(results, per_query, details, efficiency, tested))
    return path


def render(
    results: Results,
    per_query: Sequence[PerQuery],
    details: DetailsFile | None = None,
    efficiency: Efficiency | None = None,
    tested: Sequence[Family] | None = None,
) -> str:
    """Return the page. Every text of the results is escaped, and without control characters; only the page's own script and style
    may run.

    ``tested`` are the families of tests of these results where they are at hand already: a large experiment takes seconds.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("irkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": fmt.count,
        "delta": fmt.delta,
        "duration": fmt.duration,
        "metric": fmt.metric,
        "moment": moment,
        "plural": fmt.plural,
        "said": said,
        "tally": tally,
    }
    here = Path(__file__).parent
    style = (here / "templates" / "style.css").read_text(encoding="utf-8")
    script = "\n".join((here / "assets" / name).read_text(encoding="utf-8") for name in SCRIPTS)
    page = page_of(
        results,
        per_query,
        families(results, per_query) if tested is None else tested,
        details.funnels if details else (),
        details.details if details else (),
        efficiency,
    )
    html = environment.get_template("report.html").render(
        results=results,
        # The means first: they are what a reader of many collections looks for.
        tables=sorted(score_tables(results), key=lambda table: not table.members),
        off=sum(item.status == "off" for item in results.expected),
        yaml=dump_yaml({"pipelines": results.pipelines}),
        style=Markup(style),  # noqa: S704 - the package's own files
        script=Markup(script),  # noqa: S704
        hashes={"style": csp_hash(style), "script": csp_hash(script)},
        islands=list(page.islands()),
    )
    return inert(html)


def moment(iso: str) -> str:
    """Return a time as a person writes it, in UTC; a text that is no time stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if when.tzinfo is None:
        return f"{when.day} {when:%B %Y, %H:%M}"
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def csp_hash(text: str) -> str:
    """Return the source expression with which a Content-Security-Policy admits exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
