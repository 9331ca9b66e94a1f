"""Families of tests: which pairs they have, by which test, after which correction."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from islands import islands
from scipy import stats

from irkit.config.statistics import Statistics, Test
from irkit.report.build import render
from irkit.report.compare import compare_tables
from irkit.report.latex import latex
from irkit.report.pairs import Family, families
from irkit.report.results import PerQuery, Results, Score
from irkit.report.text import markdown

Make = Callable[..., Results]
NAMES = ("low", "base", "mid", "high")


def _values(seed: int = 0, queries: int = 30) -> dict[str, list[float]]:
    chance = np.random.default_rng(seed)
    hard = chance.random(queries) * 0.5
    shifts = {"low": -0.1, "base": 0.0, "mid": 0.005, "high": 0.15}
    return {
        name: np.round(hard + 0.2 + shifts[name] + chance.normal(0, 0.05, queries), 4).tolist()
        for name in NAMES
    }


def _results(make: Make, values: dict[str, list[float]], **options: Any) -> tuple[Results, list[PerQuery]]:
    baseline = options.pop("baseline", "base")
    results = make(
        metrics=["m"],
        pipelines={name: [] for name in values},
        baseline=baseline,
        controls={},
        expected=[],
        statistics=Statistics(**options),
        scores=[
            Score(collection="c", pipeline=name, metric="m", value=float(np.mean(row)))
            for name, row in values.items()
        ],
    )
    judged = {name: [0.5] * len(row) for name, row in values.items()}
    qid = [str(number) for number in range(len(values["base"]))]
    each = {name: {"m": row} for name, row in values.items()}
    return results, [PerQuery(collection="c", qid=qid, values=each, judged=judged, judged_at=5)]


def _family(make: Make, values: dict[str, list[float]] | None = None, **options: Any) -> Family:
    (family,) = families(*_results(make, values or _values(), **options))
    return family


def test_the_defaults_are_the_t_test_after_holm_against_the_baseline(make: Make) -> None:
    values, family = _values(), _family(make)
    assert [(pair.ours, pair.other) for pair in family.pairs] == [
        ("low", "base"),
        ("mid", "base"),
        ("high", "base"),
    ]
    raw = {name: stats.ttest_rel(values[name], values["base"]).pvalue for name in ("low", "mid", "high")}
    found = {pair.ours: pair.p_value for pair in family.pairs}
    assert found["mid"] == pytest.approx(raw["mid"])  # the largest of three
    for name, other in (("low", "high"), ("high", "low")):
        assert found[name] == pytest.approx(
            max((3 if raw[name] < raw[other] else 2) * raw[name], 0), rel=1e-6
        )
    assert family.how == "of the two-sided paired t-test, corrected after Holm for 3 pipelines"
    assert family.judged == dict.fromkeys(NAMES, 0.5)


def test_all_pairs_are_one_family_and_need_no_baseline(make: Make) -> None:
    family = _family(make, pairs="all", correction="bonferroni")
    assert len(family.pairs) == 6
    assert all(pair.ours != "base" for pair in family.pairs)
    few = _family(make, correction="bonferroni")
    for pair in few.pairs:
        (same,) = (each for each in family.pairs if (each.ours, each.other) == (pair.ours, pair.other))
        assert pair.p_value is not None
        assert same.p_value == pytest.approx(min(1.0, 2 * pair.p_value))
    without = _family(make, pairs="all", baseline=None)
    assert len(without.pairs) == 6
    assert families(*_results(make, _values(), baseline=None)) == []
    (table,) = compare_tables(*_results(make, _values(), pairs="all"))
    assert [row.pipeline for row in table.rows] == ["low", "mid", "high"]
    assert "6 pairs" in table.how


@pytest.mark.parametrize("test", get_args(Test))
def test_each_test_finds_what_is_there_and_mirrors(make: Make, test: str) -> None:
    family = _family(make, test=test, pairs="all", resamples=2000)
    better = {(pair.ours, pair.other): pair.better for pair in family.pairs}
    assert better[("high", "base")] == "high"
    assert better[("low", "base")] == "base"
    assert better[("mid", "base")] is None
    assert family.how.startswith("of ")
    turned = {name: [1 - value for value in row] for name, row in _values().items()}
    for pair, other in zip(
        family.pairs, _family(make, turned, test=test, pairs="all", resamples=2000).pairs, strict=True
    ):
        assert other.mean == pytest.approx(-pair.mean)
        assert (other.wins, other.losses) == (pair.losses, pair.wins)
        assert other.p_value == pytest.approx(pair.p_value, abs=0.03)


def test_alpha_decides_the_marks(make: Make) -> None:
    p = _family(make).pairs[1].p_value
    assert p is not None
    assert not _family(make, alpha=p * 0.99).pairs[1].significant
    assert _family(make, alpha=min(p * 1.01, 0.999)).pairs[1].significant


def test_no_correction_is_none(make: Make) -> None:
    values = _values()
    for pair in _family(make, correction="none", pairs="all").pairs:
        assert pair.p_value == pytest.approx(
            stats.ttest_rel(values[pair.ours], values[pair.other]).pvalue, rel=1e-6
        )


def test_intervals_hold_the_mean_and_follow_seed_and_level(make: Make) -> None:
    one, same, other, narrow = (
        _family(make, **options).pairs[0] for options in ({}, {}, {"seed": 1}, {"level": 0.5})
    )
    assert one.interval is not None
    assert narrow.interval is not None
    assert one.interval[0] < narrow.interval[0] < one.mean < narrow.interval[1] < one.interval[1]
    assert one.interval == same.interval != other.interval


def test_pipelines_without_values_are_left_out(make: Make) -> None:
    results, (one,) = _results(make, _values(), pairs="all")
    left = one.model_copy(update={"values": {n: v for n, v in one.values.items() if n != "mid"}})
    (family,) = families(results, [left])
    assert family.absent == ("mid",)
    assert len(family.pairs) == 3


@pytest.mark.parametrize("test", get_args(Test))
@pytest.mark.parametrize("queries", [1, 2])
def test_few_queries_break_nothing(make: Make, test: str, queries: int) -> None:
    results, one = _results(make, _values(queries=queries), test=test, pairs="all", resamples=100)
    for text in (markdown(results, one), latex(results, one), render(results, one)):
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


def test_every_form_says_what_was_tested(make: Make) -> None:
    results, one = _results(make, _values(), test="randomisation", alpha=0.01)
    said = "of the two-sided randomisation test, 10,000 draws, corrected after Holm for 3 pipelines"
    html, text, tex = render(results, one), markdown(results, one), latex(results, one)
    main = islands(html)["main"]
    assert {(each["how"], each["judged_at"]) for each in main["families"]} == {(said, 5)}
    assert main["alpha"] == 0.01
    assert said in text
    assert "\\*: below 0.01" in text
    assert "judged@5" in text
    assert said in tex.replace("{}", "")
    assert "$p < 0.01$" in tex
    everything, one = _results(make, _values(), test="tukey", pairs="all")
    assert "### All pairs, query by query, on m" in markdown(everything, one)
    assert "which holds for all pairs of 4 pipelines" in markdown(everything, one)
    assert "corrected after" not in markdown(everything, one)
