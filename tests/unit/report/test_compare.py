"""Wins, ties and losses against the baseline, where the differences fall, and whether they may be chance."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from islands import islands

from irkit.report import format as fmt
from irkit.report.build import render
from irkit.report.compare import CompareTable, compare_tables
from irkit.report.results import PerQuery, Results, Score
from irkit.report.text import markdown

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Hours of sleep won: the example of Student (1908), t = 4.0621, p = 0.002833."""


def _tables(make: Callable[..., Results], base: list[float], ours: list[float]) -> list[CompareTable]:
    results = make(metrics=["m"], pipelines={"a": [], "b": []}, baseline="a")
    values = {"a": {"m": base}, "b": {"m": ours}}
    qid = [str(i) for i in range(len(base))]
    return compare_tables(results, [PerQuery(collection="c", qid=qid, values=values)])


def test_counts_and_mean(make: Callable[..., Results]) -> None:
    (table,) = _tables(make, [0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.4, 0.99])
    (row,) = table.rows
    assert (row.wins, row.ties, row.losses) == (1, 1, 2)
    assert row.mean == pytest.approx((1.0 - 0.1 - 0.01) / 4)


def test_rounding_noise_is_a_tie(make: Callable[..., Results]) -> None:
    (table,) = _tables(make, [0.1 + 0.2], [0.3])
    assert table.rows[0].ties == 1


def test_swapping_the_two_mirrors_everything(make: Callable[..., Results]) -> None:
    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
    def mirrored(pairs: list[tuple[float, float]]) -> None:
        one, two = [a for a, _ in pairs], [b for _, b in pairs]
        there, back = _tables(make, one, two)[0].rows[0], _tables(make, two, one)[0].rows[0]
        assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
        assert there.wins + there.ties + there.losses == len(pairs)

    mirrored()


def test_a_pipeline_without_values_is_named(make: Callable[..., Results]) -> None:
    results = make(metrics=["m"], pipelines={"a": [], "b": [], "c": []}, baseline="a")
    values = {"a": {"m": [0.1]}, "b": {"m": [0.2]}}
    (table,) = compare_tables(results, [PerQuery(collection="c", qid=["1"], values=values)])
    assert table.absent == ("c",)


def test_without_baseline_or_values_there_is_nothing(
    make: Callable[..., Results], per_query: list[PerQuery]
) -> None:
    assert compare_tables(make(baseline=None), per_query) == []
    assert compare_tables(make(), []) == []
    assert compare_tables(make(baseline="other"), per_query) == []


BASE = [0.5] * 10
BETTER = [0.5 + each / 10 for each in SLEEP]
NO_BETTER = [0.6, 0.4] * 5


def _against(make: Callable[..., Results], **pipelines: list[float]) -> CompareTable:
    values = {name: {"m": row} for name, row in {"a": BASE, **pipelines}.items()}
    results = make(metrics=["m"], pipelines={name: [] for name in values}, baseline="a")
    qid = [str(i) for i in range(len(BASE))]
    (table,) = compare_tables(results, [PerQuery(collection="c", qid=qid, values=values)])
    return table


def test_p_values_are_the_t_tests_corrected_for_the_pipelines_of_the_table(
    make: Callable[..., Results],
) -> None:
    (alone,) = _against(make, b=BETTER).rows
    assert alone.p_value == pytest.approx(0.002833, abs=5e-7)  # Student's own example
    assert alone.effect == pytest.approx(4.0621 / 10**0.5, abs=1e-4)
    assert alone.significant
    among = _against(make, b=BETTER, c=NO_BETTER, d=NO_BETTER).rows
    assert among[0].p_value == pytest.approx(3 * 0.002833, abs=5e-6)
    assert (among[1].p_value, among[1].significant) == (1.0, False)


def test_a_correction_can_take_the_mark_away(make: Callable[..., Results]) -> None:
    values = {name: BETTER if name == "b" else NO_BETTER for name in map(chr, range(ord("b"), ord("b") + 18))}
    first = _against(make, **values).rows[0]
    assert first.p_value == pytest.approx(18 * 0.002833, abs=5e-5)
    assert not first.significant


def test_a_table_of_one_query_or_of_ties_claims_nothing(make: Callable[..., Results]) -> None:
    (row,) = _tables(make, [0.1], [0.9])[0].rows
    assert (row.p_value, row.effect, row.significant) == (None, None, False)
    (row,) = _tables(make, [0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2])[0].rows  # they differ by rounding
    assert (row.p_value, row.mean) == (1.0, 0.0)
    (row,) = _tables(make, [0.1 + 0.2, 0.1 + 0.2], [0.3, 0.3])[0].rows
    assert (row.p_value, row.significant) == (1.0, False)


def test_the_page_and_the_markdown_show_them(make: Callable[..., Results]) -> None:
    values = {"a": {"m": BASE}, "b": {"m": BETTER}, "x<y": {"m": NO_BETTER}}
    results = make(
        metrics=["m"], pipelines={name: [] for name in values}, baseline="a", scores=[], controls={}
    )
    results = results.model_copy(
        update={"scores": [Score(collection="c", pipeline=p, metric="m", value=0.5) for p in values]}
    )
    one = PerQuery(collection="c", qid=[str(i) for i in range(10)], values=values)
    (family,) = islands(render(results, [one]))["main"]["families"]
    better, same = family["pairs"]
    assert (better[3:6], round(better[6], 2), round(better[9], 4), better[10]) == (
        [9, 1, 0],
        1.28,
        0.0057,
        True,
    )
    assert (same[9], same[10]) == (1.0, False)
    assert "corrected after Holm" in family["how"]
    text = markdown(results, [one])
    assert "### Against a, query by query, on m" in text
    assert re.search(
        r"\| b \| 9 \| 1 \| 0 \| \+0\.1580 \| \+0\.\d{4} to \+0\.\d{4} \| \+1\.28 \| 0\.0057\\\* \|", text
    )
    assert re.search(
        r"\| x\\<y \| 5 \| 0 \| 5 \| 0\.0000 \| .0\.\d{4} to \+0\.\d{4} \| 0\.00 \| 1\.0000 \|", text
    )
    assert "Holm for 2 pipelines" in text
    assert "Against" not in markdown(results)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "<0.0001"), (0.00004, "<0.0001"), (0.0001, "0.0001"), (0.04996, "0.0500")]
)
def test_a_p_value_is_never_shown_as_zero(value: float, text: str) -> None:
    assert fmt.p_value(value) == text
