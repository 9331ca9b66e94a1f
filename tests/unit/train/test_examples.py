"""Examples: what held-out queries are ranked against, and how their scores count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

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
