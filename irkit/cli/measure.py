"""``irkit measure``: what the pipelines of an experiment cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from irkit.cli import console
from irkit.cli.options import Device, Experiments, Pipelines, Root, Settings, StoreRoot, Threads, workspace
from irkit.config.defaults import TIMED_QUERIES, WARMUP_QUERIES


def measure(
    experiment: Experiments,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Collections to measure on, separated by commas; a part of a name will do (scifact). All by default.",
        ),
    ] = None,
    pipelines: Pipelines = None,
    queries: Annotated[
        int, typer.Option("--queries", "-q", help="How many are timed on each collection, evenly spaced.")
    ] = TIMED_QUERIES,
    warmup: Annotated[
        int,
        typer.Option(
            "--warmup",
            help="How many others are run before each measurement, again and again until times stand still; 0 for none.",
        ),
    ] = WARMUP_QUERIES,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write to; eval/runs/<name> by default."),
    ] = None,
    settings: Settings = None,
    root: Root = None,
    store: StoreRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure latency, throughput, memory, arithmetic and size of pipelines, and write efficiency.json beside the results.

    Stages really run, each pipeline in a process of its own: nothing is taken from the store but indexes and the texts of language
    models; figures of pipelines with such texts say that writing is not in them.
    Figures are written after each pipeline: nothing is lost when a later one fails, or at Ctrl-C.
    Compilation and loading are told apart from the latency. Let nothing else run meanwhile.
    """
    from irkit.api.measure import measure as measure_experiment
    from irkit.report.efficiency_tables import legend, remarks, terminal_tables

    chosen = [name.strip() for name in only.split(",")] if only else []
    with console.progress() as bars:
        place = workspace(root, store, device, threads, bars)
        efficiency, folder = measure_experiment(
            experiment,
            place,
            settings=settings or (),
            only=chosen,
            pipelines=pipelines or (),
            queries=queries,
            warmup=warmup,
            output=output,
        )
    out = console.out()
    for table in terminal_tables(efficiency, out.width):
        out.print(table)
    for remark in remarks(efficiency):
        out.print(remark, style="dim", markup=False)
    out.print(legend(efficiency), style="dim", markup=False)
    out.print(f"written to {os.path.relpath(folder)}/efficiency.json, .md and .csv", markup=False)
