"""``irkit store``: what is kept, whether it is sound, why it is there, and making room."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from irkit.cli import console
from irkit.cli.options import Root, StoreRoot, workspace
from irkit.cli.summary import summary
from irkit.core.errors import ConfigError, StoreError
from irkit.store import TRASH, Artifact, Store

app = typer.Typer(
    help="Look into the store of computed artifacts, verify it, and make room.", no_args_is_help=True
)

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def human(size: float) -> str:
    """Return a size in bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@app.command("ls")
def ls(
    kind: Annotated[str | None, typer.Option("--kind", help="Only artifacts of this kind.")] = None,
    root: Root = None,
    store: StoreRoot = None,
) -> None:
    """List the artifacts: key, kind, size, age of the last use, and what they are."""
    from rich.table import Table
    from rich.text import Text

    found = workspace(root, store).store
    table = Table("key", "kind", "size", "last used", "what")
    total = 0
    for artifact in found.artifacts():
        if kind in (None, artifact.kind):
            total += artifact.bytes
            days = (time.time() - artifact.last_used) / 86400
            cells = (
                artifact.key[:12],
                artifact.kind,
                human(artifact.bytes),
                f"{days:.0f} days",
                summary(artifact),
            )
            table.add_row(*(Text(cell) for cell in cells))
    out = console.out()
    out.print(table)
    out.print(f"{table.row_count} artifacts, {human(total)}, in {found.root}")
    for ledger in found.ledgers() if kind is None else []:
        out.print(
            f"ledger {ledger.name}: {len(ledger)} entries, {human(ledger.size)}, which gc keeps, for they cost something to make; "
            f"delete {ledger.file} to have them made again",
            soft_wrap=True,
        )
    for path, size in found.unfinished():
        if path.name.startswith(TRASH):
            key, note = (
                path.name.removeprefix(TRASH),
                "left of a removal; irkit store gc --unfinished ends it",
            )
        else:
            key, note = path.name, "the next run goes on from it"
        out.print(f"unfinished: {key[:12]}, {human(size)} ({note})")


@app.command()
def verify(root: Root = None, store: StoreRoot = None) -> None:
    """Hash every file of every artifact again; exit with status 1 when one is damaged."""
    found = workspace(root, store).store
    damaged = list(found.verify())
    for key, problem in damaged:
        typer.echo(f"damaged: {key[:12]}: {problem}")
    torn = [(ledger, *line) for ledger in found.ledgers() for line in ledger.damaged()]
    for ledger, number, problem in torn:
        typer.echo(f"damaged: ledger {ledger.name}, line {number}: {problem}; it is not used")
    damaged += [(str(ledger.file), problem) for ledger, _, problem in torn]
    if damaged:
        typer.echo(f"remove {'it' if len(damaged) == 1 else 'them'} with: irkit store gc --broken")
        raise typer.Exit(1)
    entries = sum(len(ledger) for ledger in found.ledgers())
    also = f" and {entries} entries of ledgers" if entries else ""
    typer.echo(f"{sum(1 for _ in found.artifacts())} artifacts{also} are sound")


@app.command()
def gc(
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Remove what was not used for so long."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size", metavar="SIZE", help="Remove the longest unused until 5GB, 800MB, ... is met."
        ),
    ] = None,
    broken: Annotated[bool, typer.Option("--broken", help="Remove damaged artifacts.")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove what interrupted builds left.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    root: Root = None,
    store: StoreRoot = None,
) -> None:
    """Remove artifacts. Whatever is removed is built again when it is needed. Ledgers stay: delete their files yourself."""
    if not (broken or unfinished) and older_than is None and max_size is None:
        hint = "say which: --older-than DAYS, --max-size SIZE, --broken, --unfinished"
        raise ConfigError.of("nothing was chosen to be removed", where="irkit store gc", hint=hint)
    found = workspace(root, store).store
    doomed: dict[Path, str] = {}
    if broken:
        doomed |= {
            path: problem for key, problem in found.verify() for path in found.match(key) if path.name == key
        }
    if unfinished:
        doomed |= {path: f"unfinished, {human(size)}" for path, size in found.unfinished()}
    doomed |= {
        artifact.path: f"{artifact.kind}, {human(artifact.bytes)}"
        for artifact in _unused(found, older_than, max_size)
    }
    count = 0
    for path, why in doomed.items():
        done = dry_run or found.remove(path)
        count += done
        what = ("would remove" if dry_run else "removed") if done else "in use, kept"
        typer.echo(f"{what} {path.name.removeprefix(TRASH)[:12]}: {why}")
    for ledger in found.ledgers() if broken else []:
        lines = sum(1 for _ in ledger.damaged()) if dry_run else ledger.mend()
        count += lines
        if lines:
            what = "would remove" if dry_run else "removed"
            typer.echo(f"{what} {lines} damaged lines of the ledger {ledger.name}")
    typer.echo(f"{count} {'would be ' if dry_run else ''}removed")


def _unused(store: Store, older_than: int | None, max_size: str | None) -> list[Artifact]:
    artifacts = sorted(store.artifacts(), key=lambda a: a.last_used)
    doomed = []
    if older_than is not None:
        limit = time.time() - older_than * 86400
        doomed = [a for a in artifacts if a.last_used < limit]
    if max_size is not None:
        kept = [a for a in artifacts if a not in doomed]
        excess = sum(a.bytes for a in kept) - _parse_size(max_size)
        for artifact in kept:
            if excess <= 0:
                break
            doomed.append(artifact)
            excess -= artifact.bytes
    return doomed


def _parse_size(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]b)?", text.strip().lower())
    if not match:
        raise ConfigError.of(
            f"{text!r} is not a size", where="--max-size", hint="write 5GB, 800MB or a number of bytes"
        )
    return float(match[1]) * _UNITS[match[2] or ""]


@app.command()
def why(
    key: Annotated[str, typer.Argument(help="The first digits of a key, from `irkit store ls`.")],
    root: Root = None,
    store: StoreRoot = None,
) -> None:
    """Show what an artifact was made from, and how it differs from the most similar one."""
    from irkit.exec.plan import differences

    found = workspace(root, store).store
    paths = found.match(key)
    paths = [path for path in paths if path.name == key] or paths
    if len(paths) != 1:
        problem = (
            f"{len(paths)} artifacts have keys that begin with {key!r}"
            if paths
            else f"no artifact's key begins with {key!r}"
        )
        raise StoreError.of(problem, where=str(found.root), hint="see: irkit store ls")
    artifact = Artifact.read(paths[0])
    made = artifact.manifest
    typer.echo(
        f"{artifact.kind} {artifact.key}\n{human(artifact.bytes)}, made {made['created']} in {made['seconds']} s"
    )
    typer.echo("made from:\n" + json.dumps(artifact.recipe, indent=2, ensure_ascii=False))
    others = [a for a in found.artifacts() if a.kind == artifact.kind and a.key != artifact.key]
    if others:
        nearest = min(others, key=lambda other: len(differences(other.recipe, artifact.recipe)))
        changes = differences(nearest.recipe, artifact.recipe) or ["other queries"]
        typer.echo(f"nearest other: {nearest.key[:12]}; what differs: " + "; ".join(changes))
