"""Examples: what held-out queries are ranked against, and how their scores count."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from irkit.core.errors import DataError, ReportError
from irkit.train import examples as module
from irkit.train.examples import Example, Examples

SOURCES = [
    {"task": "a queries", "generated": False},
    {"task": "b queries", "generated": False},
    {"task": "a keyword", "generated": True},
]


def some(count: int) -> Examples:
    queries = [
        Example("held", (5,), (3,), "a queries", held=True),
        Example("trained", (0,), (1,), "a keyword"),
    ]
    return Examples([f"text {i}" for i in range(count)], queries, {}, {"sources": SOURCES})


def test_held_out_queries_are_ranked_against_all_documents() -> None:
    assert some(8).pool.tolist() == list(range(8))


def test_a_large_pool_has_their_own_documents_and_others_evenly_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POOL", 5)
    pool = some(100).pool.tolist()
    assert len(pool) == 5 and {3, 5} <= set(pool) and max(pool) > 50
    monkeypatch.setattr(module, "POOL", 1)
    assert some(100).pool.tolist() == [3, 5], "never without their own"


def test_judged_queries_count_as_much_as_generated_ones() -> None:
    scores = {"a queries": 0.2, "b queries": 0.4, "a keyword": 0.9}
    assert some(8).overall(scores) == pytest.approx((0.3 + 0.9) / 2)
    assert some(8).overall({"a queries": 0.2}) == pytest.approx(0.2)


def test_a_query_without_a_value_does_not_count() -> None:
    rows = [Example(text, (0,), task=task, held=True) for text, task in (("x", "a"), ("y", "a"), ("z", "b"))]
    assert Examples(["t"], rows, {}).by_task([0.5, float("nan"), float("nan")]) == {"a": 0.5}


def test_what_is_not_learned_from_is_relevant_too(tmp_path: Path) -> None:
    query = Example("x", (0,), (1,), ahead=(0,), also=(2,))
    given = Examples(["a", "b", "c", "A"], [query], {}, {"groups": [0, 1, 2, 2]})
    assert given.relevant == [{0, 2, 3}]
    given.save(tmp_path / "e.json.gz")
    assert Examples.load(tmp_path / "e.json.gz").queries == [query]
    for change in ({"also": ()}, {"ahead": (1,)}):
        other = Examples(given.documents, [replace(query, **change)], {}, given.origin)
        assert other.fingerprint != given.fingerprint


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    some(8).save(tmp_path / "e.json.gz")
    found = Examples.load(tmp_path / "e.json.gz")
    assert found == some(8) and found.overall({"a keyword": 0.5}) == 0.5


@pytest.mark.parametrize(
    "origin",
    [
        {"sources": SOURCES, "places": [[0, 0]] * 7 + [[-1, 7]]},
        {"sources": [*SOURCES[:2], {**SOURCES[2], "generated": False}]},
        {"sources": SOURCES, "groups": [0] * 8},
    ],
)
def test_all_that_is_learned_from_is_in_the_fingerprint(origin: dict[str, Any]) -> None:
    assert replace(some(8), origin=origin).fingerprint != some(8).fingerprint


def test_what_is_only_told_is_not(tmp_path: Path) -> None:
    told = [{**source, "queries": 7} for source in SOURCES]
    assert replace(some(8), recipe={"name": "x"}, origin={"sources": told}).fingerprint == some(8).fingerprint


def written(path: Path, **changes: Any) -> Path:
    """Write a file of examples of which some keys are others."""
    some(8).save(path)
    data = {**json.loads(gzip.decompress(path.read_bytes())), **changes}
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "the format 2"),
        ({"documents": ["another"] * 8}, "not as it was written"),
        ({"documents": 8}, "not as it was written"),
        ({"origin": []}, "not as it was written"),
        ({"queries": {}}, "not as it was written"),
        ({"queries": []}, "not as it was written"),
        ({"queries": {name: [0] * 2 for name in module._COLUMNS}}, "not as it was written"),
        ({"queries": {name: [0] * (name == "text") for name in module._COLUMNS}}, "not as it was written"),
        ({"irkit": "something"}, "no training examples"),
    ],
)
def test_a_damaged_file_is_told_of(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "e.json.gz", **changes)
    with pytest.raises(DataError, match=rf"e\.json\.gz: .*{message}"):
        Examples.load(path)


def test_a_file_with_damaged_bytes_is_told_of(tmp_path: Path) -> None:
    path = written(tmp_path / "e.json.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:20], whole[:10] + b"\xff" * 40 + whole[50:], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"e\.json\.gz"):
            Examples.load(path)


def test_where_they_cannot_be_written_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"e\.json\.gz: the file cannot be written"):
        some(8).save(tmp_path / "file" / "e.json.gz")
