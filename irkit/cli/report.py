"""``irkit report``: the pages of finished runs, made again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from irkit.cli import console


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of finished runs (eval/runs/<experiment>), or a folder of such folders.",
            metavar="FOLDER...",
            show_default=False,
        ),
    ],
    exports: Annotated[
        bool,
        typer.Option(
            "--exports", help="Write scores.md, scores.tex, scores.csv and the values per query again, too."
        ),
    ] = False,
) -> None:
    """Make report.html again from the results in a folder, without running anything.

    For a newer irkit's page of an older run, and after `irkit measure`.
    """
    from irkit.api.report import report as make_report
    from irkit.report.folders import run_folders

    out = console.out()
    for folder in dict.fromkeys(run for each in folders for run in run_folders(each)):
        out.print(f"report: {os.path.relpath(make_report(folder, exports))}", markup=False)
