"""``irkit``: the commands. Each loads what it needs when it is called, so that ``--help`` is instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irkit.cli import INTERRUPTED, Interrupted, console, interrupted
from irkit.cli.compare import compare
from irkit.cli.heads import app as heads_app
from irkit.cli.leaderboard import leaderboard
from irkit.cli.limit import app as limit_app
from irkit.cli.measure import measure
from irkit.cli.models import app as models_app
from irkit.cli.options import (
    Device,
    Experiments,
    Pick,
    Pipelines,
    Root,
    Settings,
    StoreRoot,
    Threads,
    workspace,
)
from irkit.cli.reference import app as reference_app
from irkit.cli.report import report
from irkit.cli.setup import doctor, init
from irkit.cli.store import app as store_app
from irkit.cli.train import is_recipe, make_task, train
from irkit.core.errors import ConfigError, IrkitError

if TYPE_CHECKING:
    from rich.console import Console

    from irkit.report.results import Results

app = typer.Typer(
    name="irkit",
    help="Neural information retrieval with reranking: pipelines in YAML, run over collections, published as leaderboards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.add_typer(models_app, name="models")
app.add_typer(heads_app, name="heads")
app.add_typer(limit_app, name="limit")
app.add_typer(store_app, name="store")
app.add_typer(reference_app, name="reference")


def _version(asked: bool) -> None:
    if asked:
        from irkit import __version__

        typer.echo(f"irkit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Neural information retrieval with reranking."""


@app.command()
def run(
    experiment: Experiments,
    settings: Settings = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Collections to run on, separated by commas; a part of a name will do (scifact). All by default.",
        ),
    ] = None,
    pipelines: Pipelines = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with status 1 when a score differs from `expected`.")
    ] = False,
    root: Root = None,
    store: StoreRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Run an experiment: compute what is missing, evaluate, and write the scores and the report to eval/runs/<name>/."""
    from irkit.api.published import published_for, without_published
    from irkit.api.run import run as run_experiment
    from irkit.report.reference import said, tally
    from irkit.report.results import load_results
    from irkit.report.text import terminal_tables

    with console.progress() as bars:
        place = workspace(root, store, device, threads, bars)
        loaded = place.load(experiment, settings or ())
        if check and not loaded.expected:
            raise _nothing_to_check(experiment)
        chosen = [name.strip() for name in only.split(",")] if only else []
        results, folder = run_experiment(loaded, place, only=chosen, pipelines=pipelines or ())
    out = console.out()
    for table in terminal_tables(results, out.width, load_results(folder)[1]):
        out.print(table)
    for info in results.collections:
        for kind, (count, first) in info.warnings.items():
            out.print(f"warning: {info.name}: {kind}: {count}, the first at {first}", markup=False)
    off = [each for each in results.expected if each.status == "off"]
    for each in off:
        found = f"{each.value:.4f}, expected {each.expected:.4f} +- {each.tolerance:g}"
        out.print(
            f"off: {each.collection} / {each.pipeline} / {each.metric}: {found}", style="red", markup=False
        )
    if results.expected and not off:
        out.print(f"all {len(results.expected)} expected scores are met")
    if results.reference:
        out.print(f"published scores: {tally(results.reference)}", markup=False)
    shown = [info.name for info in results.collections]
    for lack in without_published(loaded, published_for(loaded, place), shown, results.pipelines):
        out.print(f"warning: {lack}", style="yellow", markup=False)
    for score in results.reference:
        if score.status != "match" or score.reason:
            found = f"{score.value:.4f}, published {score.published:.4f} ({score.reference})"
            where = f"{score.collection} / {score.pipeline} / {score.metric}"
            style = {"off": "red", "near": "yellow"}.get(score.status, "")
            out.print(f"{said(score)}: {where}: {found}", style=style, markup=False)
    _tell_chosen(results, out)
    state = ", nothing had changed" if results.from_store else ""
    out.print(f"{results.seconds:.1f} s{state}; report: {_short(folder / 'report.html')}", markup=False)
    if check and not results.expected:
        raise _nothing_to_check(
            " ".join([f"--only {only}"] * bool(only) + [f"-p {name}" for name in pipelines or ()])
        )
    if check and off:
        raise typer.Exit(1)


def _tell_chosen(results: Results, out: Console) -> None:
    """Print what `--only` and `--pipeline` left to the store, or out."""
    told = (
        ("from the store, of earlier runs", results.kept),
        ("pipelines from the store", results.kept_pipelines),
        ("pipelines not run", results.left_out_pipelines),
    )
    for what, names in told:
        if names:
            out.print(f"{what}: {', '.join(names)}", markup=False)


def _nothing_to_check(where: object) -> ConfigError:
    hint = "write the scores under `expected`, for example: expected: {bm25: {ndcg@10: 0.679}}; or leave --check out"
    return ConfigError.of("--check finds no expected score to compare with", where=str(where), hint=hint)


@app.command()
def plan(
    experiment: Experiments,
    settings: Settings = None,
    root: Root = None,
    store: StoreRoot = None,
) -> None:
    """Show what `irkit run` would compute, what it would take from the store, and why. Loads no model."""
    from rich.table import Table
    from rich.text import Text

    place = workspace(root, store)
    out = console.out()
    for name, nodes in place.plan(place.load(experiment, settings or ())).items():
        table = Table(
            "stage", "for", "status", "queries", "builds", "why", title=Text(name), title_justify="left"
        )
        for node in nodes:
            todo = str(node.queries) if node.queries else ""
            cells = (
                node.label,
                ", ".join(node.pipelines),
                node.status,
                todo,
                ", ".join(node.builds),
                node.reason,
            )
            table.add_row(*(Text(cell) for cell in cells))
        out.print(table)
        for node in nodes:
            if (explains := node.explains) is not None:
                queries = "query" if explains.queries == 1 else f"{explains.queries} queries"
                have = "stored" if explains.stored else "to compute"
                told = f"at most {explains.documents} documents of the first {queries}, {have}"
                out.print(f"{node.label} for {', '.join(node.pipelines)} explains {told}", markup=False)
        count = sum(node.status in ("compute", "partly") for node in nodes)
        out.print(f"{count} of {len(nodes)} stages to compute\n")


@app.command()
def validate(experiment: Experiments, settings: Settings = None, root: Root = None) -> None:
    """Check an experiment file, or a recipe of `irkit train`; every problem is shown at once, with its line."""
    from irkit.api.published import published_for, without_published

    place = workspace(root)
    if is_recipe(experiment):
        from irkit.train.run import load

        recipe = load(experiment, tuple(settings or ()), place)
        sources = f"{len(recipe.data)} {'source' if len(recipe.data) == 1 else 'sources'} of data"
        typer.echo(f"{experiment}: good (a recipe of {recipe.kind}, {sources})")
        return
    found = place.load(experiment, settings or ())
    counts = f"{len(found.pipelines)} pipelines, {len(found.collections)} collections, {len(found.metrics)} metrics"
    for lack in without_published(
        found, published_for(found, place), list(found.collections), found.pipelines
    ):
        typer.echo(f"warning: {lack}")
    typer.echo(f"{experiment}: good ({counts})")


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; stdout by default.")
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="Leave out the stages of plug-ins.")] = False,
    recipe: Annotated[bool, typer.Option("--recipe", help="Of recipes of `irkit train`.")] = False,
) -> None:
    """Print the JSON Schema of experiment files, with every installed stage; editors complete and check YAML with it."""
    from irkit.config import schema as experiments
    from irkit.core.files import write_atomically
    from irkit.train import schema as recipes

    text = (recipes if recipe else experiments).schema_text(own=own)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text)


@app.command()
def search(
    experiment: Experiments,
    query: Annotated[
        list[str] | None, typer.Argument(help="The query; typed at a prompt when left out.")
    ] = None,
    pipeline: Pick = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="One of the experiment's; the first by default.")
    ] = None,
    hits: Annotated[int, typer.Option("-k", min=1, help="How many hits to show.")] = 5,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show how the query was changed, and what the reranker looked at in every hit."
        ),
    ] = False,
    settings: Settings = None,
    root: Root = None,
    store: StoreRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Type queries against a pipeline of an experiment and read the hits."""
    from irkit.cli.search import search as search_interactively

    with console.progress() as bars:
        place = workspace(root, store, device, threads, bars)
        search_interactively(
            experiment,
            " ".join(query or ()),
            pipeline,
            collection,
            hits,
            explain,
            settings or (),
            place,
            bars,
        )


app.command()(compare)
app.command()(measure)
app.command()(report)
app.command()(leaderboard)
app.command()(train)
app.command("make-task")(make_task)
app.command()(init)
app.command()(doctor)


def _short(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)


def main(argv: Sequence[str] | None = None) -> Any:
    """Run the command line; errors that a user can mend are shown on one screen, with exit status 2."""
    try:
        return app(argv)
    except IrkitError as error:
        console.show_error(error)
        sys.exit(console.FAILED)
    except Interrupted:
        raise
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:  # typer turns Ctrl-C into an exit
            raise
        interrupted()
