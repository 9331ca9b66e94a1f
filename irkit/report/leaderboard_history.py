"""What a leaderboard said before: ``leaderboard.json``, a snapshot for every time that it changed, and what changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from irkit.core.errors import ReportError
from irkit.report.judged_alike import differences
from irkit.report.leaderboard import SEEN, Leaderboard
from irkit.report.results import Record

HISTORY: Final = "leaderboard.json"
KIND: Final = "irkit leaderboard"
VERSION: Final = 2
"""Version 1 did not say which collections were asked for, nor whether order controls took part."""


class Basis(Record):
    """How a collection was judged."""

    fingerprint: str
    qrels_fingerprint: str | None = None
    with_documents: bool = True
    policy: dict[str, Any]


class PastRow(Record):
    """A row as it was."""

    key: str
    label: str
    pipeline: str
    experiment: str
    rank: int | None = None
    mean: float | None = None
    scores: dict[str, float]


class Snapshot(Record):
    """A ranking as it was."""

    date: str
    """When it was made: ISO 8601, UTC."""
    irkit: str
    metric: str
    average: str | None = None
    members: dict[str, list[str]]
    collections: dict[str, Basis]
    rows: list[PastRow]
    chosen: list[str] | None = None
    """The collections that were asked for by name; None for all that there were."""
    controls: bool = False
    """Whether order controls took part."""

    @property
    def kind(self) -> tuple[object, ...]:
        """What another snapshot must have in common, to be of the same ranking at another time."""
        chosen = None if self.chosen is None else frozenset(self.chosen)
        return self.metric, self.average, chosen, self.controls


class History(Record):
    """What ``leaderboard.json`` holds: the snapshots, the oldest first."""

    kind: Literal["irkit leaderboard"] = KIND
    schema_version: Literal[2] = VERSION
    snapshots: list[Snapshot] = Field(default_factory=list)

    def like(self, snapshot: Snapshot) -> list[Snapshot]:
        """Return the snapshots of its kind: by the same metric and average, of the same choice of collections and pipelines.

        Where all collections are in view, they may have become more, or fewer: that is a change.
        """
        return [each for each in self.snapshots if each.kind == snapshot.kind]


@dataclass(frozen=True)
class Move:
    """A value that is another: a row's mean (``place`` is None), its score on a collection, or its rank."""

    label: str
    place: str | None
    before: float
    after: float


@dataclass(frozen=True)
class Changes:
    """What a snapshot says and the one before it did not.

    Attributes:
        since: the date of the one before.
        changed: rows whose pipeline has another YAML or other models than the one of its name in the same experiment before.
        added: collections that are new in view; ``dropped`` are those that are gone; ``judged_anew`` are judged otherwise.
        scores: where both are judged alike; ``means`` and ``ranks`` where all collections are the same, too.
        ranks: (label, before, after); None for a row without a rank.
        found: (label, collection) of scores that were missing; ``missing`` of those that are now.
    """

    since: str
    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    judged_anew: tuple[str, ...]
    means: tuple[Move, ...]
    scores: tuple[Move, ...]
    ranks: tuple[tuple[str, int | None, int | None], ...]
    found: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        parts: list[tuple[object, ...]] = [self.new, self.gone, self.changed, self.added, self.dropped]
        parts += [self.judged_anew, self.means, self.scores, self.ranks, self.found, self.missing]
        return any(parts)


def snapshot_of(board: Leaderboard, date: str, irkit: str) -> Snapshot:
    """Return a ranking as history keeps it."""
    view = board.view
    return Snapshot(
        date=date,
        irkit=irkit,
        metric=view.metric,
        average=view.average,
        members={name: list(parts) for name, parts in view.members.items()},
        collections={
            name: Basis(
                fingerprint=info.fingerprint,
                qrels_fingerprint=info.qrels_fingerprint,
                with_documents=info.with_documents,
                policy=info.policy,
            )
            for name, info in view.infos.items()
        },
        rows=[
            PastRow(
                key=row.key,
                label=row.label,
                pipeline=row.pipeline,
                experiment=row.experiment,
                rank=row.rank,
                mean=row.mean,
                scores=dict(row.scores),
            )
            for row in board.rows
        ],
        chosen=None if view.chosen is None else list(view.chosen),
        controls=board.with_controls,
    )


def with_snapshot(history: History, snapshot: Snapshot) -> tuple[History, Changes | None]:
    """Add a snapshot where it says something new; return the history, and what changed since the last one of its kind.

    None where it is the first of its kind.
    """
    before = history.like(snapshot)
    found = changes(before[-1], snapshot) if before else None
    if found is not None and not found:
        return history, found
    return history.model_copy(update={"snapshots": [*history.snapshots, snapshot]}), found


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Return what changed between two snapshots of one kind."""
    place = pairs(before.rows, after.rows)
    matched = [(before.rows[place[n]], row) for n, row in enumerate(after.rows) if n in place]
    anew = [
        name
        for name, basis in after.collections.items()
        if name in before.collections and list(differences(before.collections[name], basis))
    ]
    alike = [name for name in after.collections if name in before.collections and name not in anew]
    same_view = _members(before) == _members(after) and not anew
    return Changes(
        since=before.date,
        new=tuple(row.label for n, row in enumerate(after.rows) if n not in place),
        gone=tuple(row.label for n, row in enumerate(before.rows) if n not in place.values()),
        changed=tuple(new.label for old, new in matched if old.key != new.key),
        added=tuple(name for name in after.collections if name not in before.collections),
        dropped=tuple(name for name in before.collections if name not in after.collections),
        judged_anew=tuple(anew),
        means=tuple(
            Move(new.label, None, old.mean, new.mean)
            for old, new in matched
            if same_view and old.mean is not None and new.mean is not None and _moved(old.mean, new.mean)
        ),
        scores=tuple(
            Move(new.label, name, old.scores[name], new.scores[name])
            for old, new in matched
            for name in alike
            if name in old.scores and name in new.scores and _moved(old.scores[name], new.scores[name])
        ),
        ranks=tuple(
            (new.label, old.rank, new.rank) for old, new in matched if same_view and old.rank != new.rank
        ),
        found=tuple(
            (new.label, name)
            for old, new in matched
            for name in alike
            if name in new.scores.keys() - old.scores
        ),
        missing=tuple(
            (new.label, name)
            for old, new in matched
            for name in alike
            if name in old.scores.keys() - new.scores
        ),
    )


def past_means(snapshots: Sequence[Snapshot]) -> dict[str, list[tuple[str, float]]]:
    """Return the means of every row of the last snapshot, (date, value), the oldest first, its own last.

    Only those over the same collections, judged alike. A row that was missing for a while has none for that time.
    """
    last = snapshots[-1]
    found: dict[str, list[tuple[str, float]]] = {row.key: [] for row in last.rows}
    for snapshot in snapshots:
        if _members(snapshot) != _members(last) or any(
            list(differences(basis, last.collections[name])) for name, basis in snapshot.collections.items()
        ):
            continue
        place = pairs(snapshot.rows, last.rows)
        for number, row in enumerate(last.rows):
            mean = snapshot.rows[place[number]].mean if number in place else None
            if mean is not None:
                found[row.key].append((snapshot.date, mean))
    return found


def pairs(before: Sequence[PastRow], after: Sequence[PastRow]) -> dict[int, int]:
    """Return which row of before each row of after was, by number.

    By the pipeline's fingerprint; what is left over on both sides, by its name and experiment where these are of one row only.
    """
    keys = {row.key: number for number, row in enumerate(before)}
    found = {number: keys[row.key] for number, row in enumerate(after) if row.key in keys}
    taken = set(found.values())
    old = _alone((number, row) for number, row in enumerate(before) if number not in taken)
    new = _alone((number, row) for number, row in enumerate(after) if number not in found)
    return found | {number: old[name] for name, number in new.items() if name in old}


def load_history(folder: Path) -> History:
    """Read ``leaderboard.json``; an empty history where there is none.

    Raises:
        ReportError: when it is damaged, of a newer irkit, or not a leaderboard's.
    """
    path = folder / HISTORY
    hint = "move it away to begin a new history, or choose another folder with --output"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return History()
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise ReportError.of(message, where=str(path), hint="check the folder and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ReportError.of(f"the history is damaged: {error}", where=str(path), hint=hint) from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ReportError.of("the file is not the history of a leaderboard", where=str(path), hint=hint)
    version = data.get("schema_version")
    if isinstance(version, int) and version > VERSION:
        message = f"the history has version {version} of the format; this irkit reads version {VERSION}"
        raise ReportError.of(message, where=str(path), hint="update irkit")
    if version == 1:
        data["schema_version"] = VERSION
    try:
        return History.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        message = f"the history is damaged: {place}: {first['msg']}"
        raise ReportError.of(message, where=str(path), hint=hint) from error


def history_text(history: History) -> str:
    """Return the text of ``leaderboard.json``."""
    return json.dumps(history.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def _members(snapshot: Snapshot) -> dict[str, frozenset[str]]:
    return {name: frozenset(parts) for name, parts in snapshot.members.items()}


def _moved(before: float, after: float) -> bool:
    return abs(before - after) >= SEEN


def _alone(rows: Iterator[tuple[int, PastRow]]) -> Mapping[tuple[str, str], int]:
    named = [((row.pipeline, row.experiment), number) for number, row in rows]
    count = Counter(name for name, _ in named)
    return {name: number for name, number in named if count[name] == 1}
