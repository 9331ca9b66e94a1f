"""``irkit models``: which models are known and here, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

from irkit.cli import console

app = typer.Typer(help="List the models known by a short name; fetch one.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the catalogue: what each model is, its licence and source, and whether it is on this machine."""
    from rich.table import Table
    from rich.text import Text

    from irkit.models.catalogue import list_models

    table = Table("name", "kind", "here", "licence", "source", "about")
    for status in list_models():
        entry = status.entry
        cells = (entry.name, entry.kind, status.status, entry.licence, entry.source, entry.about)
        table.add_row(*(Text(cell) for cell in cells))
    out = console.out()
    out.print(table)
    out.print(
        "any folder of a saved model, and any hub id (org/name or org/name@revision), works as a name too"
    )


@app.command()
def pull(name: Annotated[str, typer.Argument(help="A name of the catalogue, or a hub id.")]) -> None:
    """Fetch a model, verify it, and keep it for offline use. Does nothing when it is here already."""
    from irkit.models.fetch import pull as fetch

    model = fetch(name)
    typer.echo(f"{model.name}: {model.path} (licence {model.licence}, from {model.source})")
