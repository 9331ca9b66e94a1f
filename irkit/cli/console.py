"""What the terminal shows: errors on one screen, progress bars, tables. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from irkit.core.errors import IrkitError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from irkit.pipeline.context import Advance

FAILED = 2


def out() -> Console:
    """Return the console on stdout."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def show_error(error: IrkitError) -> None:
    """Print every problem: where, what, and what to do."""
    from rich.markup import escape

    console = err()
    shown = error.problems[:20]
    for problem in shown:
        where = f"[bold]{escape(problem.where)}[/bold]: " if problem.where else ""
        console.print(f"[red]error:[/red] {where}{escape(problem.message)}")
        if problem.hint:
            console.print(f"       [dim]->[/dim] {escape(problem.hint)}")
    if len(error.problems) > len(shown):
        console.print(f"... and {len(error.problems) - len(shown)} more")


class ProgressBars:
    """Progress as bars on the terminal, one line a task; a plain line at the end of each task where there is no terminal."""

    def __init__(self) -> None:
        self._bars: Bars | None = None

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Show one task."""
        bars = self._bars or self._start()
        number = bars.add_task(label, total=total, completed=done)
        try:
            yield lambda n: bars.advance(number, n)
        finally:
            bars.stop_task(number)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        (self._bars.console if self._bars else err()).print(text, markup=False)

    def _start(self) -> Bars:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=err())
        self._bars.start()
        return self._bars

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextmanager
def progress() -> Iterator[ProgressBars]:
    """Show progress bars while the block runs."""
    bars = ProgressBars()
    try:
        yield bars
    finally:
        bars.close()
