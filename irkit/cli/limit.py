"""``irkit limit``: what vectors of a dimension can represent at all, and what becomes of recall as a collection grows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irkit.cli import console
from irkit.cli.options import Device, Threads, check_device
from irkit.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from irkit.theory.curve import Curve

app = typer.Typer(
    help="LIMIT: how many documents vectors of d dimensions can tell apart, and recall as a collection grows.",
    no_args_is_help=True,
)

_LARGEST_DIM = 1 << 16
_DIMS = re.compile(r"(\d{1,5})(?:\.\.(\d{1,5}))?")


@app.command()
def curve(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.", show_default=False)
    ],
    dims: Annotated[
        str, typer.Option("--dims", help="Dimensions: 4..20, or 4,8,16, or both: 4..12,16.")
    ] = "4..12",
    pattern: Annotated[
        str,
        typer.Option("--pattern", help="Which k documents belong together: dense, random, cycle, disjoint."),
    ] = "dense",
    k: Annotated[int, typer.Option("--k", min=1, help="Relevant documents of a query.")] = 2,
    share: Annotated[
        float, typer.Option("--share", help="Of all combinations, that the pattern random draws.")
    ] = 0.5,
    starts: Annotated[
        int,
        typer.Option("--starts", min=1, help="Optimisations of each (d, n); one that succeeds is enough."),
    ] = 3,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of the first vectors and the random pattern.")
    ] = 0,
    largest: Annotated[int, typer.Option("--largest", min=2, help="Number of documents to try.")] = 1024,
    beyond: Annotated[
        int, typer.Option("--beyond", min=1, help="How many sizes in a row behind the critical n must fail.")
    ] = 2,
    model_dims: Annotated[
        str, typer.Option("--model-dims", help="Dimensions of models, to place on the curve.")
    ] = "384,768,1024,4096",
    rate: Annotated[float, typer.Option("--rate", help="Adam's step.")] = 0.01,
    temperature: Annotated[float, typer.Option("--temperature", help="Of InfoNCE.")] = 0.1,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Steps at most.")] = 100_000,
    patience: Annotated[
        int,
        typer.Option("--patience", min=1, help="Steps without progress, after which a start is given up."),
    ] = 1000,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Find the critical n of each dimension: the most documents of which free embeddings can answer every query.

    Writes curve.json, curve.csv, curve.md and curve.svg after every dimension. Every finished optimisation is kept in
    trials.jsonl, so the same command goes on where an earlier one ended, also with more dimensions.
    """
    from irkit.data.patterns import PATTERNS
    from irkit.models.device import pick_device, use_threads
    from irkit.theory.curve import CurveSettings, trace
    from irkit.theory.free_embeddings import Optimiser
    from irkit.theory.written import write_curve

    if pattern not in PATTERNS:
        raise ConfigError.of(
            f"unknown pattern {pattern!r}", where=f"--pattern {pattern}", hint=nearest(pattern, PATTERNS)
        )
    wanted, models = read_dims(dims, "--dims"), read_dims(model_dims, "--model-dims")
    optimiser = Optimiser(rate=rate, temperature=temperature, iterations=iterations, patience=patience)
    settings = CurveSettings(pattern, k, share, starts, seed, largest, beyond, optimiser)
    _refuse_file(output)
    check_device(device)
    if threads:
        use_threads(threads)
    with console.progress() as bars:
        found = trace(
            wanted,
            settings,
            output,
            device=pick_device(device),
            model_dims=models,
            progress=bars,
            each=lambda so_far: write_curve(so_far, output),
        )
    _show(found, output)


@app.command()
def growth(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of finished runs over irkit/limit-synthetic (eval/runs/limit).",
            metavar="FOLDER...",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.", show_default=False)
    ],
    metrics: Annotated[
        str, typer.Option("--metrics", "-m", help="Separated by commas, a panel of the chart for each.")
    ] = "recall@2,recall@10,recall@100",
) -> None:
    """Show each pipeline's recall, and what it costs, as a generated collection grows: nothing is run, finished runs are read.

    Sizes may come from several runs; where two have the same, the later folder's counts.
    Writes growth.md, growth.svg and growth.csv.
    """
    from rich.markdown import Markdown

    from irkit.theory.growth import read_growth
    from irkit.theory.growth_files import markdown, write_growth

    _refuse_file(output)
    wanted = list(dict.fromkeys(name.strip() for name in metrics.split(",") if name.strip()))
    if not wanted:
        raise ConfigError.of("no metric is named", where="--metrics", hint="for example recall@2,recall@100")
    found = read_growth(runs, wanted)
    write_growth(found, output)
    out = console.out()
    out.print(Markdown(markdown(found)))
    out.print(f"written to {os.path.relpath(output)}: growth.md, growth.svg, growth.csv", markup=False)


def _refuse_file(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise ConfigError.of(
            "the output is no folder", where=f"--output {output}", hint="name a folder, new or old"
        )


def read_dims(text: str, option: str) -> list[int]:
    """Read ``4..20`` and ``4,8,16``: ascending, each once."""
    found = set[int]()
    for part in text.split(","):
        match = _DIMS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= _LARGEST_DIM:
            hint = "for example 4..20, or 4,8,16; from small to large"
            raise ConfigError.of(
                f"{part.strip()!r} is no range of dimensions", where=f"{option} {text}", hint=hint
            )
        found.update(range(first, last + 1))
    return sorted(found)


def _show(found: Curve, folder: Path) -> None:
    from rich.table import Table

    table = Table("d", "critical n", "paper", "own cubic", "margin", "s")
    for column in table.columns:
        column.justify = "right"
    own = found.own
    for p in found.points:
        cubics = [f"{cubic(p.dim):.1f}" if cubic else "-" for cubic in (found.paper, own)]
        margin = "-" if p.margin is None else f"{p.margin:.1e}"
        table.add_row(str(p.dim), p.says(), *cubics, margin, f"{p.seconds:.1f}")
    out = console.out()
    out.print(table)
    for row in found.standing():
        said = [
            f"{row[key]:,} by {name}"
            for key, name in (("paper", "the paper's cubic"), ("own", "our own"))
            if row[key]
        ]
        if said:
            out.print(f"a model of {row['dim']} dimensions: n = {', '.join(said)}", markup=False)
    out.print(
        f"written to {os.path.relpath(folder)}: curve.md, curve.svg, curve.csv, curve.json", markup=False
    )
