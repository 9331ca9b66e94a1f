"""Results of nodes as artifacts: rankings and queries, written and read, and gathered query by query from earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.store import Artifact, Build

Result = Rankings | Queries


def write_result(build: Build, result: Result, keys: Sequence[str]) -> None:
    """Write a node's results and the keys of the queries they belong to."""
    build.path("keys.txt").write_text("\n".join(keys), encoding="ascii")
    if isinstance(result, Rankings):
        for name in ("offsets", "doc", "score"):
            np.save(build.path(f"{name}.npy"), getattr(result, name), allow_pickle=False)
    else:
        lists: dict[str, Any] = {"text": list(result.text)}
        for name, column in result.columns.items():
            if isinstance(column, np.ndarray):
                np.save(build.path(f"column-{name}.npy"), column, allow_pickle=False)
            else:
                lists[f"column-{name}"] = list(column)
        build.path("queries.json").write_text(json.dumps(lists), encoding="utf-8")


def read_result(artifact: Artifact, source: Queries) -> Result:
    """Read a node's results; ``source`` holds the queries they belong to, for ids and exclusions."""
    if artifact.kind == "rankings":
        offsets, doc, score = (
            np.load(artifact.file(f"{name}.npy"), allow_pickle=False) for name in ("offsets", "doc", "score")
        )
        return Rankings(offsets, doc, score)
    lists: Mapping[str, Any] = json.loads(artifact.file("queries.json").read_text(encoding="utf-8"))
    columns: dict[str, Any] = {
        k.removeprefix("column-"): v for k, v in lists.items() if k.startswith("column-")
    }
    for path in sorted(Path(artifact.path).glob("column-*.npy")):
        columns[path.stem.removeprefix("column-")] = np.load(path, allow_pickle=False)
    return Queries(source.qid, tuple(lists["text"]), source.exclude, columns)


def read_keys(artifact: Artifact) -> list[str]:
    """Return the keys of the queries whose results an artifact holds; none when another run has just removed it."""
    try:
        text = artifact.file("keys.txt").read_text(encoding="ascii")
    except FileNotFoundError:
        if artifact.path.is_dir():
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
    """
    wanted: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        wanted.setdefault(key, []).append(row)
    parts: list[Part] = []
    for artifact in artifacts:
        if not wanted:
            break
        try:
            pairs = [
                (row, there) for there, key in enumerate(read_keys(artifact)) for row in wanted.pop(key, ())
            ]
            if not pairs:
                continue
            rows, there = [row for row, _ in pairs], [place for _, place in pairs]
            stand_in = Queries.of([""] * len(read_keys(artifact)))
            result = read_result(artifact, stand_in).take(there)
        except FileNotFoundError:  # a chunk that its run has just replaced by the whole
            continue
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
