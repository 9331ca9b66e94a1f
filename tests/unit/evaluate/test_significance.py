"""Tests of significance against published worked examples, scipy, and what must hold whatever the numbers."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from irkit.evaluate import significance
from irkit.evaluate.significance import (
    bonferroni,
    bootstrap_interval,
    bootstrap_intervals,
    cohens_d,
    holm,
    randomisation_test,
    randomisation_tests,
    t_test,
    wilcoxon_test,
)

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Hours of sleep won: the example of Student (1908)."""
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's pairs of maize plants, in eighths of an inch: the example of Fisher (1935)."""
SOME = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def test_students_example() -> None:
    assert t_test(SLEEP) == pytest.approx(0.002833, abs=5e-7)
    effect = cohens_d(SLEEP)
    assert effect is not None
    assert effect * np.sqrt(10) == pytest.approx(4.0621, abs=5e-5)  # his t


@given(SOME)
def test_the_t_test_is_scipys(values: list[float]) -> None:
    if len(set(values)) > 1:
        expected = stats.ttest_rel(values, np.zeros(len(values))).pvalue
        assert t_test(values) == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert t_test([-each for each in values]) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_where_there_is_nothing_to_test() -> None:
    assert t_test([]) is wilcoxon_test([]) is t_test([0.3]) is cohens_d([0.3]) is cohens_d([0.3, 0.3]) is None
    assert randomisation_test([]) is bootstrap_interval([]) is None
    assert (t_test([0.0] * 5), t_test([0.2] * 5)) == (1.0, 0.0)
    assert randomisation_test([0.0] * 5) == 1.0


def test_fishers_example() -> None:
    # he counts 863 of 2^15 assignments with a sum of at least 314; as many lie as far below 0
    assert randomisation_test(MAIZE) == 2 * 863 / 2**15
    assert randomisation_test([each / 8 * 2.54 for each in MAIZE]) == 2 * 863 / 2**15  # in centimetres


@given(SOME.filter(lambda values: len(values) <= 8))
def test_the_randomisation_test_looks_at_every_assignment(values: list[float]) -> None:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    expected = sum(each >= abs(sum(values)) - 1e-9 for each in sums) / len(sums)
    assert randomisation_test(values) == expected


def test_random_assignments_come_near_and_are_never_zero() -> None:
    drawn = randomisation_test(MAIZE, draws=20_000)
    assert drawn is not None
    assert drawn != 2 * 863 / 2**15
    assert drawn == pytest.approx(2 * 863 / 2**15, abs=0.006)  # four standard errors
    assert drawn == randomisation_test(MAIZE, draws=20_000)
    assert drawn != randomisation_test(MAIZE, draws=20_000, seed=1)
    assert randomisation_test([1.0] * 40, draws=999) == 1 / 1000


def test_blocks_do_not_change_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "_BLOCK", 100)
    assert randomisation_test(MAIZE[:10]) == stats.permutation_test(
        (MAIZE[:10],), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue  # fmt: skip


def test_columns_share_their_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(4)
    table = chance.normal(size=(30, 5))
    alone = [randomisation_test(column, draws=500, seed=2) for column in table.T]
    assert randomisation_tests(table, draws=500, seed=2) == alone
    intervals = [bootstrap_interval(column, draws=500, seed=2) for column in table.T]
    for ours, theirs in zip(bootstrap_intervals(table, draws=500, seed=2), intervals, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12)
    monkeypatch.setattr(significance, "_BLOCK", 100)
    assert bootstrap_intervals(table, draws=500, seed=2)[0] == pytest.approx(intervals[0], abs=0.15)
    assert randomisation_tests(np.empty((0, 2))) == bootstrap_intervals(np.empty((0, 2))) == [None, None]
    for function in (randomisation_tests, bootstrap_intervals):
        for bad in ([[0.1, float("nan")]], [0.1]):
            with pytest.raises(ValueError, match="a row for each query"):
                function(bad)  # type: ignore[operator]


DEPRESSION = [0.952, -0.147, 1.022, 0.43, 0.62, 0.59, 0.49, -0.08, 0.01]
"""Of the Hamilton scale before and after therapy: Hollander and Wolfe, Nonparametric Statistical Methods (1973), table 3.1."""


def test_published_examples_of_the_signed_rank_test() -> None:
    assert wilcoxon_test(DEPRESSION) == pytest.approx(2 * 0.01953, abs=1e-5)  # T+ = 40: one-sided 0.0195
    assert wilcoxon_test(MAIZE) == 0.041259765625  # Darwin's pairs again: W = 24, Cureton (1967)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60, unique_by=abs))
def test_the_signed_rank_test_is_scipys(values: list[float]) -> None:
    left = sorted(abs(each) for each in values if each)
    if left and all(b - a > 1e-9 for a, b in pairwise(left)):  # no ranks that rounding would share
        method = "exact" if len(left) <= 50 else "asymptotic"
        expected = stats.wilcoxon([each for each in values if each], method=method).pvalue
        assert wilcoxon_test(values) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_shared_ranks_are_counted_exactly(values: list[int]) -> None:
    left = [each for each in values if each]
    if not left:
        assert wilcoxon_test(values) == 1.0
        return
    ranks = stats.rankdata(np.abs(left))
    sums = np.array([np.dot(signs, ranks) for signs in product((1, -1), repeat=len(left))])
    seen = abs(np.dot(np.sign(left), ranks))
    assert wilcoxon_test(values) == pytest.approx((np.abs(sums) >= seen - 1e-9).mean(), abs=1e-12)
    assert wilcoxon_test([each / 10 + 0.2 - 0.2 for each in values]) == wilcoxon_test(
        values
    )  # ties but for rounding


@given(st.lists(st.integers(-9, 9).filter(bool), min_size=51, max_size=120))
def test_many_shared_ranks_are_scipys(values: list[int]) -> None:
    expected = stats.wilcoxon(values, method="asymptotic", correction=False).pvalue
    assert wilcoxon_test([*values, 0, 0]) == pytest.approx(expected, rel=1e-9)


NEUHAUS = [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262, .5719, .6528, .7590, 1.]  # fmt: skip
"""The p-values that Benjamini and Hochberg (1995) work through: controlling the familywise error at 0.05 leaves three."""


def test_published_examples_of_corrections() -> None:
    for correct in (holm, bonferroni):
        corrected = correct(NEUHAUS)
        assert [p is not None and p <= 0.05 for p in corrected] == [True] * 3 + [False] * 12
    assert bonferroni(NEUHAUS)[2] == pytest.approx(15 * 0.0019)
    assert holm(NEUHAUS)[2] == pytest.approx(13 * 0.0019)
    assert bonferroni([0.02, None, 0.7]) == [0.04, None, 1.0]


def test_holm_by_hand() -> None:
    # sorted: .005 * 4, .01 * 3, .03 * 2, and .04 * 1, which may not be below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
    assert holm([0.02, None, 0.03]) == [0.04, None, 0.04]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_lies_between_nothing_and_bonferroni(values: list[float]) -> None:
    corrected = holm(values)
    for p, q in zip(values, corrected, strict=True):
        assert q is not None
        assert p <= q <= min(1.0, len(values) * p)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff([corrected[i] for i in order]) >= 0)
    # rejected are those which stepping down rejects, as Holm's paper puts it
    alpha, rejected = 0.05, set()
    for rank, i in enumerate(order.tolist()):
        if (len(values) - rank) * values[i] > alpha:
            break
        rejected.add(i)
    assert {i for i, q in enumerate(corrected) if q is not None and q <= alpha} == rejected


def test_the_interval_is_scipys_and_covers() -> None:
    low, high = bootstrap_interval(MAIZE, draws=20_000) or (0.0, 0.0)
    theirs = stats.bootstrap(
        (MAIZE,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(theirs), abs=1.0)
    assert low < np.mean(MAIZE) < high
    narrow = bootstrap_interval(MAIZE, level=0.5) or (0.0, 0.0)
    assert low < narrow[0] < narrow[1] < high
    assert bootstrap_interval(MAIZE) == bootstrap_interval(MAIZE) != bootstrap_interval(MAIZE, seed=1)
    assert bootstrap_interval([0.25] * 4) == (0.25, 0.25)


def test_bad_input_is_refused() -> None:
    for function in (t_test, wilcoxon_test, randomisation_test, cohens_d, bootstrap_interval):
        for bad in ([0.1, float("nan")], [float("inf")], [[0.1], [0.2]], 0.5):
            with pytest.raises(ValueError, match="finite numbers in one row"):
                function(bad)  # type: ignore[operator]
    for p in (-0.1, 1.1, float("nan")):
        for correct in (holm, bonferroni):
            with pytest.raises(ValueError, match="no p-value"):
                correct([0.5, p])
    with pytest.raises(ValueError, match="draws"):
        randomisation_test([0.1], draws=0)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([0.1], level=1.0)


def test_it_imports_no_scipy() -> None:
    code = "import sys, irkit.evaluate.significance; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
