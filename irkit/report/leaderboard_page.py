"""A leaderboard to read: the page, Markdown, CSV, and what changed in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.core.flow import flow
from irkit.report import format as fmt
from irkit.report.html import moment, render_page
from irkit.report.leaderboard import SEEN, Leaderboard, Standing
from irkit.report.leaderboard_choices import choices_told
from irkit.report.leaderboard_history import Changes, Move
from irkit.report.tabular import csv_text
from irkit.report.text import escape, table_line

CSV_COLUMNS = (
    "rank",
    "row",
    "pipeline",
    "metric",
    "mean",
    "mean_rank",
    "collection",
    "score",
    "experiment",
    "created",
    "irkit",
    "models",
)
_WIDTH, _HEIGHT = 96, 22
"""Of a line of past values, in pixels."""


@dataclass(frozen=True)
class Shown:
    """A leaderboard with its past.

    Attributes:
        date: when it last changed.
        snapshots: how many there are of its kind: by this metric and average, of these collections.
        changes: what changed then; None where there was nothing before.
        past: by a row's key its means, (date, value), the oldest first.
    """

    title: str
    board: Leaderboard
    date: str
    irkit: str
    snapshots: int
    changes: Changes | None
    past: dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Item:
    """One thing that changed: the name of a row or a collection, on which collection, and how."""

    label: str
    place: str | None = None
    said: str = ""

    def __str__(self) -> str:
        place = f" on {self.place}" if self.place else ""
        return f"{self.label}{place}{': ' if self.said else ''}{self.said}"


def page(shown: Shown) -> str:
    """Return ``leaderboard.html``: like a report it loads nothing, and no name in it can become markup."""
    from markupsafe import Markup

    board, changes = shown.board, shown.changes
    values = {
        "shown": shown,
        "board": board,
        "view": board.view,
        "columns": columns(board),
        "notes": notes(board),
        "doubts": {row.key: doubts(row) for row in board.rows},
        "mean_delta": {} if changes is None else {m.label: m.after - m.before for m in changes.means},
        "moved": {} if changes is None else {label: (old, new) for label, old, new in changes.ranks},
        "told": [] if changes is None else list(sentences(changes)),
        "lines": {key: line(past) for key, past in shown.past.items() if len(past) > 1},
        "size": (_WIDTH, _HEIGHT),
    }
    return render_page(
        "leaderboard.html",
        values,
        sheets=["style.css", "board.css"],
        scripts=["tables.js", "board.js"],
        filters={"breaking": lambda name: Markup("/<wbr>").join(name.split("/")), "flow": flow},
    )


def columns(board: Leaderboard) -> list[str]:
    """Return the members that have a column of their own; a single one is the mean already."""
    members = list(board.view.members)
    return members if len(members) > 1 or not board.ranked else []


def line(values: Sequence[tuple[str, float]]) -> str:
    """Return the points of a line through past means: the oldest left, the lowest at the bottom; equal ones in the middle."""
    numbers = [value for _, value in values]
    low, high = min(numbers), max(numbers)
    step = (_WIDTH - 4) / (len(numbers) - 1)
    points = []
    for place, value in enumerate(numbers):
        share = (value - low) / (high - low) if high - low >= SEEN else 0.5
        points.append(f"{2 + place * step:.1f},{_HEIGHT - 3 - share * (_HEIGHT - 6):.1f}")
    return " ".join(points)


def sentences(changes: Changes) -> Iterator[tuple[str, list[Item]]]:
    """Yield what changed: a heading, and its items. Nothing is left out."""
    means = {
        (move.label, move.before, move.after) for move in changes.means
    }  # of one collection, the score itself
    scores = [move for move in changes.scores if (move.label, move.before, move.after) not in means]
    anew = "Collections judged otherwise than before, so that scores on them cannot be compared"
    parts = [
        ("Collections that came into view", map(Item, changes.added)),
        ("Collections no longer in view", map(Item, changes.dropped)),
        (anew, map(Item, changes.judged_anew)),
        ("New rows", map(Item, changes.new)),
        ("Gone", map(Item, changes.gone)),
        ("Pipelines that were changed themselves: other YAML or other models", map(Item, changes.changed)),
        ("Ranks", (Item(label, None, f"{_rank(old)} to {_rank(new)}") for label, old, new in changes.ranks)),
        ("Means", (Item(m.label, None, _moved(m)) for m in changes.means)),
        ("Scores", (Item(m.label, m.place, _moved(m)) for m in scores)),
        ("Scores that were missing", (Item(*each) for each in changes.found)),
        ("Scores that are missing now", (Item(*each) for each in changes.missing)),
    ]
    yield from ((title, found) for title, items in parts if (found := list(items)))


def markdown(shown: Shown) -> str:
    """Return ``leaderboard.md``."""
    board, names = shown.board, columns(shown.board)
    view = board.view
    ranks = len(view.members) > 1
    heads = ["rank", "pipeline", f"{view.title} {view.metric}", *(["mean rank"] if ranks else []), *names]
    body = [
        [
            fmt.DASH if row.rank is None else str(row.rank),
            escape(row.label),
            _value(row.mean),
            *([fmt.DASH if row.mean_rank is None else f"{row.mean_rank:.1f}"] if ranks else []),
            *(_value(row.means.get(name)) for name in names),
        ]
        for row in board.rows
    ]
    table = [
        table_line([escape(head) for head in heads]),
        table_line(["--:", ":--", *("--:" for _ in heads[2:])]),
        *map(table_line, body),
    ]
    parts = [f"# {escape(shown.title)}", *map(escape, notes(board)), "\n".join(table)]
    for row in board.rows:
        if row.missing:
            parts.append(
                f"{escape(row.label)} has no rank: no {escape(view.metric)} on {', '.join(map(escape, row.missing))}."
            )
        parts += [f"{escape(row.label)}: {escape(each)}." for each in doubts(row)]
    if shown.changes is not None:
        parts.append(f"## Changes since {escape(moment(shown.changes.since))}")
        for title, items in sentences(shown.changes):
            parts.append("\n".join([f"{title}:", "", *(f"- {escape(str(item))}" for item in items)]))
    parts.append(f"Made with irkit {escape(shown.irkit)}; last changed on {escape(moment(shown.date))}.")
    return "\n\n".join(parts) + "\n"


def csv(shown: Shown) -> str:
    """Return ``leaderboard.csv``: a line for each row and collection in view, numbers with all their digits."""
    view = shown.board.view

    def lines() -> Iterator[list[Any]]:
        for row in shown.board.rows:
            whose = {name: origin for origin in row.origins for name in origin.collections}
            for name in view.collections:
                origin = whose.get(name)
                made = [None] * 3 if origin is None else [origin.experiment, origin.created, origin.irkit]
                start = [row.rank, row.label, row.pipeline, view.metric, row.mean, row.mean_rank]
                yield [*start, name, row.scores.get(name), *made, " ".join(row.models)]

    return csv_text(CSV_COLUMNS, lines())


def notes(board: Leaderboard) -> list[str]:
    """Return what a reader has to know of the ranking as a whole."""
    view = board.view
    count = len(view.collections)
    if len(view.members) == 1 and count == 1:
        said = [f"Ranked by {view.metric} on {view.collections[0]}."]
    else:
        what = f"mean {view.metric}" if view.average is None else f"{view.title} of {view.metric}"
        grouped = (
            f", which count as {len(view.members)}, a macro set as one" if len(view.members) != count else ""
        )
        said = [f"Ranked by the {what} over {fmt.plural(count, 'collection')}{grouped}."]
    said[0] += (
        " Rows that agree to four decimals share a rank; differences are not tested here. The experiments' own reports test them, "
        "within each collection only: a mean carries no test."
    )
    if not board.ranked:
        said.append(f"No row has a score on all of them, so none has a rank: {choices_told(board)}.")
    if board.controls:
        said.append(f"Left out: {fmt.plural(board.controls, 'order control')}.")
    if board.unseen:
        said.append(
            f"Not shown: {fmt.plural(board.unseen, 'pipeline')} without a score on these collections."
        )
    if board.without_documents:
        said.append(
            f"On {', '.join(board.without_documents)} some scores come from run files: judged alike, but on which documents the "
            "runs were made is not known."
        )
    return said


def doubts(row: Standing) -> list[str]:
    """Return what older experiments say otherwise of a row."""
    found = []
    for each in row.differing:
        why = {
            None: "",
            True: ", although both are one computation",
            False: ", with another version of a model, a library or irkit",
        }[each.same_computation]
        found.append(
            f"the same pipeline had {fmt.metric(each.value)} on {each.collection} in {each.experiment} of "
            f"{moment(each.created)}{why}; the newest counts, {fmt.metric(each.newer)}"
        )
    return found


def _rank(rank: int | None) -> str:
    return "no rank" if rank is None else str(rank)


def _moved(move: Move) -> str:
    return f"{fmt.metric(move.before)} to {fmt.metric(move.after)} ({fmt.delta(move.after - move.before)})"


def _value(value: float | None) -> str:
    return fmt.DASH if value is None else fmt.metric(value)
