"""Everything that is written beside the report, for README files, papers, spreadsheets and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from irkit.report.details import Funnel
from irkit.report.latex import write_latex
from irkit.report.pairs import Family, families
from irkit.report.results import PerQuery, Results
from irkit.report.tabular import write_per_query, write_scores
from irkit.report.text import write_markdown


def write_exports(
    results: Results,
    per_query: Sequence[PerQuery],
    folder: Path,
    tested: Sequence[Family] | None = None,
    funnels: Sequence[Funnel] = (),
) -> list[Path]:
    """Write ``scores.md``, ``scores.tex``, ``scores.csv`` and ``per_query.parquet`` into ``folder``; return their paths.

    ``tested`` are the families of tests of these results where they are at hand already.

    Without pyarrow, ``per_query.csv`` stands in the place of the Parquet file.

    Raises:
        ReportError: when the folder cannot be written.
    """
    tested = families(results, per_query) if tested is None else tested
    return [
        write_markdown(results, folder, per_query, tested, funnels),
        write_latex(results, folder, per_query, tested),
        write_scores(results, folder, per_query, tested),
        write_per_query(results, folder, per_query),
    ]
