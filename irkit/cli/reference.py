"""``irkit reference``: published scores that a run can be compared with."""

from __future__ import annotations

from typing import Annotated

import typer

from irkit.cli import console
from irkit.cli.options import Root, workspace

app = typer.Typer(
    help="List the published scores that runs are compared with; show one.", no_args_is_help=True
)


@app.command("list")
def list_(root: Root = None) -> None:
    """List them: irkit's own, and those of the workspace's eval/reference/."""
    from rich.table import Table
    from rich.text import Text

    from irkit.data.published import published

    table = Table()
    table.add_column("name", no_wrap=True)  # it is to be copied
    table.add_column("collections")
    table.add_column("what", overflow="fold")
    for each in published(workspace(root).root).values():
        count = str(len(each.scores)) if each.scores else "average only"
        table.add_row(*(Text(cell) for cell in (each.name, count, each.title)))
    console.out().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of the list.", show_default=False)], root: Root = None
) -> None:
    """Show the scores and where they were published."""
    from rich.table import Table
    from rich.text import Text

    from irkit.core.errors import ConfigError, nearest
    from irkit.data.published import published

    known = published(workspace(root).root)
    if name not in known:
        raise ConfigError.of(
            "there are no such published scores", where=name, hint=nearest(name, list(known))
        )
    each = known[name]
    rows = {**each.scores, **{f"average: {average}": values for average, values in each.averages.items()}}
    metrics = list(dict.fromkeys(metric for values in rows.values() for metric in values))
    table = Table("collection", *metrics)
    for place, values in rows.items():
        cells = (f"{values[metric]:.{each.decimals}f}" if metric in values else "" for metric in metrics)
        table.add_row(Text(place), *cells)
    out = console.out()
    out.print(
        f"{each.title}\n{each.source.citation}, {each.source.version}, {each.source.date}", markup=False
    )
    out.print(each.source.url, markup=False)
    out.print(table)
    if isinstance(each.tolerance, float):
        if each.tolerance:
            out.print(f"tolerance {each.tolerance:g} on every collection", markup=False)
    else:
        for place, allowed in each.tolerance.items():
            out.print(f"tolerance {allowed.tolerance:g} on {place}, for {allowed.reason}", markup=False)
    if each.notes:
        out.print(each.notes, markup=False)
