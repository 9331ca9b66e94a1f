"""The cost of stages: what was cached, what is shared, and how long the bars are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from irkit.report.results import Results, StageTime
from irkit.report.times import StageRow, said, stage_times


def _time(pipeline: str = "a", position: int = 0, **changes: Any) -> StageTime:
    fields = {
        "collection": "c",
        "stage": "bm25",
        "label": "bm25",
        "seconds": 3.0,
        "prepare_seconds": 1.0,
        "queries": 10,
        "cached_queries": 0,
        "artifact_bytes": 0,
    }
    return StageTime(pipeline=pipeline, position=position, **(fields | changes))


def _rows(make: Callable[..., Results], *times: StageTime) -> list[StageRow]:
    return stage_times(make(stages=list(times), collections=[], pipelines={}))


def _row(time: StageTime) -> StageRow:
    return StageRow(time, None)


@pytest.mark.parametrize(("cached", "word"), [(0, "none"), (1, "some"), (9, "some"), (10, "all")])
def test_cached(cached: int, word: str) -> None:
    assert _row(_time(cached_queries=cached)).cached == word


def test_a_node_over_no_queries_is_not_cached() -> None:
    assert _row(_time(queries=0)).cached == "none"


@pytest.mark.parametrize(
    ("cached", "timed", "seconds"),
    [(0, None, 0.3), (4, None, 0.5), (10, None, None), (10, 6, 0.5), (0, 0, None)],
)
def test_time_per_query_is_over_the_queries_that_were_computed(
    cached: int, timed: int | None, seconds: float | None
) -> None:
    assert _row(_time(cached_queries=cached, timed_queries=timed)).per_query == seconds


def test_stages_are_in_order_and_shared_ones_name_the_first(make: Callable[..., Results]) -> None:
    rows = _rows(
        make,
        _time("a", node="n"),
        _time("b", 1, label="last"),
        _time("b", 0, node="n"),
        _time("b", 2, node="m"),
    )
    assert [(row.time.pipeline, row.time.position) for row in rows] == [
        ("a", 0),
        ("b", 0),
        ("b", 1),
        ("b", 2),
    ]
    assert [row.shared_with for row in rows] == [None, "a", None, None]


def test_a_node_is_not_shared_between_collections(make: Callable[..., Results]) -> None:
    rows = _rows(make, _time("a", node="n"), _time("a", node="n", collection="d"))
    assert [row.shared_with for row in rows] == [None, None]


def test_a_node_that_stands_twice_in_a_pipeline_is_shared_with_itself(make: Callable[..., Results]) -> None:
    rows = _rows(make, _time("a", 0, node="n"), _time("a", 1, node="n"))
    assert rows[1].shared_with == "a"


def test_notes_stand_in_the_row_that_paid_alone(make: Callable[..., Results]) -> None:
    notes = {"model": "a long address", "batch": 8}
    first, second = _rows(make, _time("a", node="n", notes=notes), _time("b", node="n", notes=notes))
    assert first.notes == {"model": "a long address", "batch": "8"}
    assert second.notes == {}


def test_groups_of_counts_stand_in_one_note(make: Callable[..., Results]) -> None:
    (row,) = _rows(make, _time("a", notes={"gate": {"kept the query": 7, "changed it": 0}, "fold": 3}))
    assert row.notes == {"gate": "kept the query 7, changed it 0", "fold": "3"}


def test_a_report_needs_no_stage() -> None:
    """Nor the models that a stage brings along: a report is made again where there is no Java."""
    kinds = ("irkit.stages.query", "irkit.models")
    code = f"import sys, irkit.report.build; print(*(n for n in sys.modules if n.startswith({kinds})))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_said() -> None:
    assert said({"well-formed": 3, "cut": False}) == "well-formed 3, cut no"
    assert [said(v) for v in (True, False, None, [1, "a"], 0.5)] == ["yes", "no", "none", "1, a", "0.5"]
