"""Measurements in a folder: each is added to what is there as soon as it is made, whoever else measures into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from irkit.core.alone import alone
from irkit.core.files import write_atomically
from irkit.report.build import write_report
from irkit.report.efficiency import (
    EFFICIENCY,
    Efficiency,
    load_efficiency,
    mergeable,
    merged,
    save_efficiency,
)
from irkit.report.efficiency_tables import write_tables
from irkit.report.results import RESULTS

_LOCK = ".efficiency.lock"


def require_place(folder: Path) -> None:
    """Make sure that measurements can be kept in a folder, before hours go into them.

    Raises:
        ReportError: when it cannot be written, or holds damaged measurements.
    """
    with alone(folder, _LOCK):
        load_efficiency(folder)


def keep(new: Efficiency, folder: Path, say: Callable[[str], None]) -> Efficiency:
    """Write measurements, together with those that the folder holds by now, and their tables.

    Where those cannot stand in one table with the new ones, they stay in a file of another name, and the user is told of it.

    Returns:
        what ``efficiency.json`` holds now.

    Raises:
        ReportError: when the folder cannot be written, or its measurements are damaged.
    """
    with alone(folder, _LOCK):
        old = load_efficiency(folder)
        if old is not None and not mergeable(old, new):
            aside = _aside(folder, old.created)
            write_atomically(aside, (folder / EFFICIENCY).read_text(encoding="utf-8"))
            say(
                f"the measurements in {folder / EFFICIENCY} were made under other settings ({_differing(old, new)}):"
                f" kept as {aside.name}"
            )
        whole = merged(old, new)
        save_efficiency(whole, folder)
        write_tables(whole, folder)
    return whole


def show(folder: Path) -> None:
    """Make the folder's report anew, if it has one's results.

    Raises:
        ReportError: when something there cannot be read, or the folder cannot be written.
    """
    if (folder / RESULTS).exists():
        with alone(folder, _LOCK):
            write_report(folder)


def _aside(folder: Path, created: str) -> Path:
    """Return a path that is free, named after the time of the measurements."""
    base = Path(EFFICIENCY)
    stem = f"{base.stem}-{re.sub('[^0-9T]+', '-', created[:19])}"
    path, number = folder / f"{stem}{base.suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{base.suffix}"
    return path


def _differing(old: Efficiency, new: Efficiency) -> str:
    """Return what differs between two settings, the old values."""
    before, now = old.settings(), new.settings()
    found = [f"{name} {before[name]}" for name in before if before[name] != now[name]]
    return ", ".join(found) or f"device {old.device}"
