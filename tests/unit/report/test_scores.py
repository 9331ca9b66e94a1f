"""The score table: best marks, ties, differences, means, and what is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.report import format as fmt
from irkit.report.results import CollectionInfo, Results, Score
from irkit.report.scores import ScoreTable, score_tables


def _score(pipeline: str, value: float, collection: str = "c", metric: str = "m") -> Score:
    return Score(collection=collection, pipeline=pipeline, metric=metric, value=value)


def _collection(name: str, macro: str | None = None) -> CollectionInfo:
    policy = {"drop_self": False, "macro": macro}
    return CollectionInfo(
        name=name, documents=1, queries=1, judged_queries=1, judgements=1, fingerprint="f", policy=policy
    )


Make = Callable[..., Results]


def _one(make: Make, values: dict[str, float], baseline: str | None = None) -> ScoreTable:
    results = make(
        metrics=["m"],
        pipelines={name: [] for name in values},
        baseline=baseline,
        collections=[_collection("c")],
        scores=[_score(name, value) for name, value in values.items()],
        expected=[],
    )
    (table,) = score_tables(results)
    return table


def _best(table: ScoreTable) -> set[str]:
    return {row.pipeline for row in table.rows if row.cells[0].best}


def test_the_highest_is_best(make: Make) -> None:
    assert _best(_one(make, {"a": 0.1, "b": 0.3, "c": 0.2})) == {"b"}


def test_ties_to_the_decimals_shown_share_the_mark(make: Make) -> None:
    table = _one(make, {"a": 0.30001, "b": 0.30004, "c": 0.2999})
    assert _best(table) == {"a", "b"}


def test_one_alone_is_not_marked(make: Make) -> None:
    table = _one(make, {"a": 0.3})
    assert _best(table) == set()


def test_differences_are_to_the_baseline_with_their_sign(make: Make) -> None:
    table = _one(make, {"a": 0.25, "b": 0.5, "c": 0.125}, baseline="a")
    assert [row.cells[0].delta for row in table.rows] == [None, 0.25, -0.125]
    assert [row.is_baseline for row in table.rows] == [True, False, False]


def test_no_baseline_no_differences(make: Make) -> None:
    assert {row.cells[0].delta for row in _one(make, {"a": 0.1, "b": 0.2}).rows} == {None}


def test_a_missing_score_has_a_reason(results: Results) -> None:
    table = next(t for t in score_tables(results) if t.name == "irkit/limit-small")
    cell = next(row for row in table.rows if row.pipeline == "dense").cells[2]
    assert cell.value is None
    assert not cell.best
    assert cell.reason in table.reasons


def test_expectations_stand_in_their_cells(results: Results) -> None:
    found = {
        (table.name, row.pipeline, cell.metric): cell.expectation.status
        for table in score_tables(results)
        for row in table.rows
        for cell in row.cells
        if cell.expectation
    }
    assert found == {
        ("beir/scifact/test", "bm25", "ndcg@10"): "match",
        ("irkit/limit-small", "hybrid-maxsim", "ndcg@10"): "off",
    }


def test_the_mean_is_over_collections_and_lacks_what_a_member_lacks(results: Results) -> None:
    mean = score_tables(results)[-1]
    assert mean.members == ("beir/scifact/test", "irkit/limit-small")
    cells = {(row.pipeline, cell.metric): cell.value for row in mean.rows for cell in row.cells}
    both = [results.value(name, "bm25", "ndcg@10") for name in mean.members]
    assert cells["bm25", "ndcg@10"] == pytest.approx(sum(both) / 2)
    assert cells["dense", "recall@100"] is None


def test_a_macro_set_counts_as_one_collection(make: Make) -> None:
    results = make(
        metrics=["m"],
        pipelines={"a": []},
        expected=[],
        collections=[_collection("x1", "x"), _collection("x2", "x"), _collection("y")],
        scores=[_score("a", 0.1, "x1"), _score("a", 0.3, "x2"), _score("a", 0.8, "y")],
    )
    tables = {table.name: table for table in score_tables(results)}
    assert tables["Mean of x"].rows[0].cells[0].value == pytest.approx(0.2)
    assert tables["Mean"].rows[0].cells[0].value == pytest.approx(0.5)
    assert tables["Mean"].members == ("x", "y")
    assert {name: (table.kind, table.of, table.parts) for name, table in tables.items()} == {
        "x1": ("collection", "x1", ()),
        "x2": ("collection", "x2", ()),
        "y": ("collection", "y", ()),
        "Mean of x": ("set", "x", (("x1",), ("x2",))),
        "Mean": ("mean", None, (("x1", "x2"), ("y",))),
    }


def test_what_only_the_scores_know_is_shown_too(make: Make) -> None:
    results = make(
        pipelines={}, metrics=[], collections=[], baseline=None, expected=[], scores=[_score("p", 0.5)]
    )
    (table,) = score_tables(results)
    assert (table.name, table.metrics, table.rows[0].pipeline) == ("c", ("m",), "p")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0000042, "4.20 µs"),
        (0.00042, "420 µs"),
        (0.0042, "4.20 ms"),
        (0.99949, "999 ms"),
        (0.99999, "1.00 s"),
        (9.999, "10.0 s"),
        (59.96, "1 min 00 s"),
        (123, "2 min 03 s"),
        (3599.6, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_999, "1.00 MB"), (5_210_000_000, "5.21 GB")],
)
def test_sizes(size: int, text: str) -> None:
    assert fmt.size(size) == text


@given(st.floats(min_value=-1, max_value=1))
def test_a_difference_reads_back_and_has_a_sign_unless_it_is_zero(value: float) -> None:
    text = fmt.delta(value)
    assert float(text.replace(fmt.MINUS, "-")) == pytest.approx(value, abs=0.00005001)
    assert (text[0] in f"+{fmt.MINUS}") == (float(text.lstrip(f"+{fmt.MINUS}")) != 0)


@given(st.floats(min_value=1e-5, max_value=1e6))
def test_a_duration_is_within_half_a_percent_or_a_minute(seconds: float) -> None:
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
    words = fmt.duration(seconds).replace(",", "").split()
    total = sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    slack = 30 if seconds >= 3599 else 0.51 if seconds >= 59 else 0.0051 * seconds
    assert total == pytest.approx(seconds, abs=slack)
