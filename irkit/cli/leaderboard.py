"""``irkit leaderboard``: many experiments in one ranking."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irkit.cli import console
from irkit.config.defaults import LEADERBOARD

if TYPE_CHECKING:
    from rich.table import Table

    from irkit.report.leaderboard import Leaderboard

_SHOWN = 8
"""Of changes of one kind."""


def leaderboard(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of finished runs (eval/runs/*), a folder of such folders, or files results.json.",
            metavar="RUN...",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The folder to write to; its leaderboard.json is the history."),
    ] = LEADERBOARD,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", "-m", help="What to rank by; ndcg@10 by default, where any experiment has it."
        ),
    ] = None,
    average: Annotated[
        str | None,
        typer.Option(
            "--average", help="An average that the experiments name; else the mean over all collections."
        ),
    ] = None,
    collections: Annotated[
        str | None,
        typer.Option(
            "--collections",
            "-c",
            help="Those to rank on, separated by commas; a part of a name will do (scifact). All by default.",
        ),
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Rank order controls as well.")] = False,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Leaderboard",
) -> None:
    """Rank the pipelines of many experiments on one page, and say what changed since the last time.

    Results that are judged differently, by policy or by judgements, are refused.
    """
    from irkit.api.leaderboard import make_leaderboard
    from irkit.report.leaderboard_page import doubts, notes, sentences

    chosen = [name.strip() for name in collections.split(",") if name.strip()] if collections else []
    made = make_leaderboard(
        runs,
        output=output,
        metric=metric,
        average=average,
        collections=chosen,
        controls=controls,
        title=title,
    )
    out = console.out()
    out.print(_table(made.board))
    for note in notes(made.board):
        out.print(_plain(note), markup=False)
    for row in made.board.rows:
        for doubt in doubts(row):
            out.print(_plain(f"warning: {row.label}: {doubt}"), markup=False)
    for path in made.skipped:
        out.print(_plain(f"skipped: {path} holds no results"), markup=False)
    if made.changes is None:
        out.print("the first ranking of its kind in this folder")
    elif not made.changes:
        out.print(f"nothing has changed since {made.changes.since}", markup=False)
    else:
        out.print(f"since {made.changes.since}:", markup=False)
        for heading, items in sentences(made.changes):
            out.print(f"  {heading}:", markup=False)
            for item in items[:_SHOWN]:
                out.print(f"    {_plain(str(item))}", markup=False)
            if len(items) > _SHOWN:
                out.print(f"    and {len(items) - _SHOWN} more, which stand on the page")
    out.print(f"page: {os.path.relpath(made.folder / 'leaderboard.html')}", markup=False)


def _table(board: Leaderboard) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from irkit.report import format as fmt

    view = board.view
    several = len(view.members) > 1
    table = Table(
        title=Text(_plain(f"{view.title}, {view.metric}"), style="bold"),
        box=SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("pipeline", overflow="fold")
    table.add_column(Text(_plain(view.metric)), justify="right", no_wrap=True)
    if several:
        table.add_column("mean rank", justify="right")
    table.add_column("missing", overflow="fold")
    for row in board.rows:
        mean_rank = fmt.DASH if row.mean_rank is None else f"{row.mean_rank:.1f}"
        table.add_row(
            fmt.DASH if row.rank is None else str(row.rank),
            Text(_plain(row.label)),
            fmt.DASH if row.mean is None else fmt.metric(row.mean),
            *([mean_rank] if several else []),
            Text(_plain(", ".join(row.missing))),
        )
    return table


def _plain(text: str) -> str:
    from irkit.report import format as fmt

    return fmt.plain(text)
