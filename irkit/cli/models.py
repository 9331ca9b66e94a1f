"""``irkit models``: which models are known and here, and fetching one."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from irkit.cli import console
from irkit.cli.options import Root

app = typer.Typer(help="List the models known by a short name; fetch one.", no_args_is_help=True)


@app.command("list")
def list_(root: Root = None) -> None:
    """List the catalogue and what was trained into models/ of the workspace: kind, whether it is on this machine, licence."""
    from irkit.models.catalogue import list_models, trained_models

    listed = [*list_models(), *trained_models(root or Path.cwd())]
    names, kinds, here = (
        max(map(len, column))
        for column in zip(*((each.entry.name, each.entry.kind, each.status) for each in listed), strict=True)
    )
    out = console.out()
    for each in listed:
        entry = each.entry
        short = " " not in entry.licence
        row = f"{entry.name:{names}}  {entry.kind:{kinds}}  {each.status:{here}}  {entry.licence if short else ''}"
        out.print(row.rstrip(), style="bold", markup=False, soft_wrap=True)
        for text in (entry.about, *([] if short else [f"licence: {entry.licence}"])):
            width = out.width if out.is_terminal else 10_000
            lines = textwrap.fill(
                text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )
            out.print(lines, markup=False, soft_wrap=True)
    out.print(
        "any folder of a saved model, and any hub id (org/name or org/name@revision), works as a name too"
    )


@app.command()
def pull(name: Annotated[str, typer.Argument(help="A name of the catalogue, or a hub id.")]) -> None:
    """Fetch a model, verify it, and keep it for offline use. Does nothing when it is here already.

    It says where the model is from, and under which licence.
    """
    from irkit.models.fetch import pull as fetch

    model = fetch(name)
    typer.echo(f"{model.name}: {model.path} (licence {model.licence}, from {model.source})")
