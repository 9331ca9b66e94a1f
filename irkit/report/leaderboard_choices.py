"""Which collections would rank how many rows: what to choose where no row has a score on all that are in view."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from irkit.report import format as fmt
from irkit.report.leaderboard import Leaderboard, View

_SHOWN = 5


@dataclass(frozen=True)
class Choice:
    """Members of a view, in its order, and how many rows have a score on all of them."""

    members: tuple[str, ...]
    rows: int


def choices(board: Leaderboard) -> list[Choice]:
    """Return what can be chosen, those that rank most first.

    Offered are the members that some row has, and each member alone; not those to which others can be added without a loss of rows.
    """
    of_rows = [frozenset(row.means) for row in board.rows if row.means]
    single = {frozenset([member]) for of_row in of_rows for member in of_row}
    rows = {each: sum(each <= of_row for of_row in of_rows) for each in {*of_rows, *single}}
    kept = [
        each
        for each, count in rows.items()
        if not any(each < other and rows[other] == count for other in rows)
    ]
    found = [Choice(tuple(name for name in board.view.members if name in each), rows[each]) for each in kept]
    return sorted(found, key=lambda each: (-each.rows, -len(each.members), each.members))


def choices_told(board: Leaderboard) -> str:
    """Return what to do: ``choose collections: -c scifact ranks 5 pipelines; -c my/test ranks 2``."""
    found = choices(board)
    if not found:
        return "no row has all of the collections that count as one"
    told = [
        f"-c {_option(board.view, each)} ranks {each.rows if place else fmt.plural(each.rows, 'pipeline')}"
        for place, each in enumerate(found[:_SHOWN])
    ]
    more = [f"there are {len(found) - _SHOWN} more choices"] if len(found) > _SHOWN else []
    return f"choose collections: {'; '.join([*told, *more])}"


def _option(view: View, choice: Choice) -> str:
    """Return what ``-c`` takes; a member of a named average is no name that it knows, its collections are."""
    names = [
        name
        for member in choice.members
        for name in ((member,) if view.average is None else view.members[member])
    ]
    return shlex.quote(",".join(names))
