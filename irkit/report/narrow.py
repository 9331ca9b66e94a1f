"""What of a score table a terminal has room for, and the names of what it has not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from irkit.report import format as fmt
from irkit.report.scores import ScoreTable
from irkit.report.tested import Column

_NAME = 24
"""Longer names are folded where a line has no room for them."""
_VALUE, _DELTA, _MARK = len("0.1234*"), len(" +0.1234"), len(" ✓")


@dataclass(frozen=True)
class Room:
    """What is shown.

    Attributes:
        deltas: of how many metrics, from the first on, the differences to the baseline are.
        column: what tests say; None where it is left out, or nothing was tested.
        missing: what was left out, in words.
    """

    deltas: int
    column: Column | None
    missing: tuple[str, ...]


def room_for(scores: ScoreTable, columns: Sequence[Column], names: Sequence[str], width: int) -> Room:
    """Return the most that fits ``width`` characters: the differences of later metrics go first, what tests say goes last.

    Args:
        scores: the table.
        columns: what tests say, the fullest form first; empty where nothing was tested.
        names: of the rows, as they are shown.
        width: of the terminal.
    """
    cells = [cell for row in scores.rows for cell in row.cells]
    differs = any(cell.delta is not None for cell in cells)
    marked = any(cell.expectation for cell in cells)
    longest = max(map(len, names), default=0)
    choices = list(_choices(len(scores.metrics) if differs else 0, columns))
    for name in dict.fromkeys((longest, min(longest, _NAME))):
        for deltas, column in choices:
            widths = [max(name, len("pipeline"))]
            widths += [
                max(len(fmt.plain(metric)), _VALUE + _DELTA * (place < deltas) + _MARK * marked)
                for place, metric in enumerate(scores.metrics)
            ]
            if column is not None:
                widths.append(column.width)
            bare = not deltas and column is None
            # A space on each side of a cell, and one at each end of a line and between two columns.
            if sum(widths) + 3 * len(widths) + 1 <= width and not (bare and name > _NAME and columns):
                return Room(deltas, column, _missing(scores, differs, deltas, columns, column))
    return Room(0, None, _missing(scores, differs, 0, columns, None))


def _choices(deltas: int, columns: Sequence[Column]) -> Iterator[tuple[int, Column | None]]:
    """Yield numbers of metrics with differences, and the column, from the most to the least."""
    some = list(dict.fromkeys((deltas, min(deltas, 1))))
    fullest: Sequence[Column | None] = columns[:1] or (None,)
    yield from ((count, column) for count in some for column in fullest)
    yield from ((count, column) for count in (some[-1], 0) for column in columns[1:])
    if columns:
        yield 0, columns[0]
    yield 0, None


def _missing(
    scores: ScoreTable, differs: bool, deltas: int, columns: Sequence[Column], column: Column | None
) -> tuple[str, ...]:
    parts = []
    if differs and not deltas:
        parts.append("differences")
    elif differs and deltas < len(scores.metrics):
        parts.append(f"differences on {', '.join(map(fmt.plain, scores.metrics[deltas:]))}")
    if columns and column is None:
        parts.append(columns[0].head)
    elif column is not None and column.head != columns[0].head:
        parts.append(columns[0].head.removeprefix(f"{column.head}, "))
    return tuple(parts)
