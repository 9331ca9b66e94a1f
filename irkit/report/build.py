"""The report: one HTML file that holds everything it shows and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from irkit.config.yaml import dump_yaml
from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.details import DetailsFile, load_details
from irkit.report.efficiency import Efficiency, load_efficiency
from irkit.report.html import render_page
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
    """Return the page.

    ``tested`` are the families of tests of these results where they are at hand already: a large experiment takes seconds.
    """
    page = page_of(
        results,
        per_query,
        families(results, per_query) if tested is None else tested,
        details.funnels if details else (),
        details.details if details else (),
        efficiency,
    )
    values = {
        "results": results,
        # The means first: they are what a reader of many collections looks for.
        "tables": sorted(score_tables(results), key=lambda table: not table.members),
        "off": sum(item.status == "off" for item in results.expected),
        "yaml": dump_yaml({"pipelines": results.pipelines}),
        "islands": list(page.islands()),
    }
    return render_page(
        "report.html",
        values,
        sheets=["style.css"],
        scripts=SCRIPTS,
        filters={"duration": fmt.duration, "said": said, "tally": tally},
    )
