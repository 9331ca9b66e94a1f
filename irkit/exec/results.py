"""Results of nodes as artifacts: rankings and queries, written and read, and gathered query by query from earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.store import Artifact

Result = Rankings | Queries

_KEYS, _QUERIES = "keys.txt", "queries.json"


def write_result(folder: Path, result: Result, keys: Sequence[str]) -> None:
    """Write a node's results into a folder, and the keys of the queries they belong to."""
    (folder / _KEYS).write_text("\n".join(keys), encoding="ascii")
    if isinstance(result, Rankings):
        for name in ("offsets", "doc", "score"):
            np.save(folder / f"{name}.npy", getattr(result, name), allow_pickle=False)
        return
    lists: dict[str, Any] = {"text": list(result.text), "columns": {}, "arrays": []}
    for name, column in result.columns.items():
        if isinstance(column, np.ndarray):
            lists["arrays"].append(name)
            np.save(folder / f"column-{name}.npy", column, allow_pickle=False)
        else:
            lists["columns"][name] = list(column)
    (folder / _QUERIES).write_text(json.dumps(lists), encoding="utf-8")


def read_result(folder: Path, source: Queries) -> Result:
    """Read a node's results; ``source`` holds the queries they belong to, for ids and exclusions."""
    if not (folder / _QUERIES).exists():
        offsets, doc, score = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("offsets", "doc", "score")
        )
        return Rankings(offsets, doc, score)
    lists: Mapping[str, Any] = json.loads((folder / _QUERIES).read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"column-{name}.npy", allow_pickle=False) for name in lists["arrays"]}
    return Queries(source.qid, tuple(lists["text"]), source.exclude, {**lists["columns"], **arrays})


def read_keys(folder: Path) -> list[str]:
    """Return the keys of the queries whose results a folder holds; none when another run has just removed it."""
    try:
        text = (folder / _KEYS).read_text(encoding="ascii")
    except FileNotFoundError:
        if folder.is_dir():
            raise
        return []
    return text.split("\n") if text else []


Part = tuple[list[int], Result]
"""The results of some of the queries: their row numbers, and the results in that order."""


def gather(artifacts: Iterable[Artifact], keys: Sequence[str], source: Queries) -> list[Part]:
    """Collect from earlier artifacts of the same node the results of as many queries as they have.

    Args:
        artifacts: results of the node over other queries.
        keys: the keys of the wanted queries.
        source: the wanted queries, for ids and exclusions.

    Raises:
        StoreError: when an artifact that has some of them is damaged: it would go on into the new one.
    """
    wanted: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        wanted.setdefault(key, []).append(row)
    parts: list[Part] = []
    for artifact in artifacts:
        held = read_keys(artifact.path)
        place = {
            key: there for there, key in enumerate(held)
        }  # queries of one text share a key, and a result
        pairs = [(row, place[key]) for key, rows in wanted.items() if key in place for row in rows]
        if not pairs:
            continue
        try:
            artifact.require_sound()
            result = read_result(artifact.path, Queries.of([""] * len(held))).take(
                [there for _, there in pairs]
            )
        except FileNotFoundError:  # removed just now, by `irkit store gc`
            continue
        for key in place:
            wanted.pop(key, None)
        rows = [row for row, _ in pairs]
        if isinstance(result, Queries):
            own = source.take(rows)
            result = Queries(own.qid, result.text, own.exclude, result.columns)
        parts.append((rows, result))
    return parts


def join(parts: Sequence[Part], source: Queries) -> Result:
    """Put parts that cover all queries together, in the order of ``source``."""
    if not parts:
        return Rankings.empty(0)
    rows = np.concatenate([np.asarray(numbers, dtype=np.int64) for numbers, _ in parts])
    order = np.argsort(rows, kind="stable")
    rankings = [result for _, result in parts if isinstance(result, Rankings)]
    if rankings:
        return Rankings.concat(rankings).take(order)
    texts: list[str] = []
    columns: dict[str, list[Any]] = {}
    for result in (result for _, result in parts if isinstance(result, Queries)):
        texts += result.text
        for name, column in result.columns.items():
            columns.setdefault(name, []).append(column)
    joined = {
        name: np.concatenate(pieces)
        if isinstance(pieces[0], np.ndarray)
        else [value for piece in pieces for value in piece]
        for name, pieces in columns.items()
    }
    everything = Queries(source.take(rows).qid, tuple(texts), source.take(rows).exclude, joined)
    return everything.take(order)
