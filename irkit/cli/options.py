"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from irkit.api.workspace import Workspace
    from irkit.pipeline.context import Progress

Experiments = Annotated[Path, typer.Argument(help="The experiment's YAML file.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B.C=VALUE",
        help="Change a value of the file, e.g. pipelines.bm25.bm25.k=50. May be repeated.",
    ),
]
Pick = Annotated[
    str | None,
    typer.Option("--pipeline", "-p", help="One of the experiment's pipelines; the last by default."),
]
Pipelines = Annotated[
    list[str] | None,
    typer.Option("--pipeline", "-p", help="Only this one of the experiment's pipelines. May be repeated."),
]
Root = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="The workspace; the current folder by default.")
]
StoreRoot = Annotated[
    Path | None, typer.Option("--store", help="The store; $IRKIT_STORE, else indexes/ of the workspace.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps; the best there is by default.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; all cores by default.")]


_DEVICE = re.compile(r"(cpu|cuda|mps)(:\d+)?")
"""Enough to find a typing mistake at once, also when nothing needs the device; whether it is there, torch says."""


def workspace(
    root: Path | None = None,
    store: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Workspace:
    """Return the workspace that the options describe.

    Raises:
        ConfigError: when the folder does not exist, or the device has a name that no device has.
    """
    from irkit.api.workspace import Workspace
    from irkit.core.errors import ConfigError
    from irkit.pipeline.context import Runtime, Silent

    if root is not None and not root.is_dir():
        raise ConfigError.of(
            "the workspace is not a folder", where=str(root), hint="make one with: irkit init FOLDER"
        )
    check_device(device)
    runtime = Runtime(device, threads) if threads else Runtime(device)
    return Workspace((root or Path.cwd()).resolve(), store, runtime, progress or Silent())


def check_device(device: str | None) -> None:
    """Refuse a name that no device has.

    Raises:
        ConfigError: for such a name.
    """
    from irkit.core.errors import ConfigError

    if device is not None and not _DEVICE.fullmatch(device):
        hint = "cpu, cuda, cuda:1, mps; see what there is with: irkit doctor"
        raise ConfigError.of(f"there is no device {device!r}", where=f"--device {device}", hint=hint)
