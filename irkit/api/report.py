"""Making the report of a run again, from what the run wrote: nothing is computed but the tests."""

from __future__ import annotations

from pathlib import Path

from irkit.report.build import write_report
from irkit.report.details import load_details
from irkit.report.exports import write_exports
from irkit.report.pairs import families
from irkit.report.results import load_results


def report(folder: Path, exports: bool = False) -> Path:
    """Write ``report.html`` into the folder of a run, from its ``results.json`` and the files beside it; return its path.

    Args:
        folder: ``eval/runs/<experiment>``.
        exports: write ``scores.md``, ``scores.tex``, ``scores.csv`` and the values per query again, too.

    Raises:
        ReportError: when a file is missing, damaged, of another version of the format, or of another run than its siblings.
    """
    results, per_query = load_results(folder)
    tested = families(results, per_query)
    path = write_report(folder, (results, per_query), tested)
    if exports:
        write_exports(results, per_query, folder, tested, load_details(folder, results).funnels)
    return path
