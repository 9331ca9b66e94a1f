"""Tukey's paired tests against a published worked example, a plain reference, and what they are of two pipelines."""

from __future__ import annotations

import warnings
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from irkit.evaluate import tukey
from irkit.evaluate.significance import randomisation_test, t_test
from irkit.evaluate.tukey import randomised_tukey_hsd, studentized_range, tukey_hsd

GRAFTS = np.array(
    [
        [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
        [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
        [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
        [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
    ]
).T
"""Yields of vascular grafts in six batches of resin at four pressures: the randomised blocks of Montgomery, Design and Analysis of
Experiments (2013), table 4.3. His table 4.4 has an error mean square of 7.33 on 15 degrees of freedom."""
Q05 = 4.08
"""Upper 5 % point of the studentized range of 4 on 15 degrees of freedom, in the tables of the same book."""

GRIDS = st.tuples(st.integers(2, 8), st.integers(2, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(
            st.floats(0, 1).map(lambda x: round(x, 3)),
            min_size=shape[1],
            max_size=shape[1],
        ),
        min_size=shape[0],
        max_size=shape[0],
    ).map(np.array)
)


def test_montgomerys_vascular_grafts() -> None:
    found = tukey_hsd(GRAFTS)
    assert found is not None
    least = Q05 * np.sqrt(7.33 / 6)  # the honestly significant difference, 4.51
    means = GRAFTS.mean(axis=0)
    assert means == pytest.approx([92.82, 91.68, 88.92, 85.77], abs=0.005)  # as printed
    for i, j in combinations(range(4), 2):
        assert (found[i, j] < 0.05) == (abs(means[i] - means[j]) > least)
        q = abs(means[i] - means[j]) / np.sqrt(7.33 / 6)
        assert found[i, j] == pytest.approx(stats.studentized_range.sf(q, 4, 15), rel=5e-3)
    assert {(i, j) for i, j in combinations(range(4), 2) if found[i, j] < 0.05} == {(0, 3), (1, 3)}


@pytest.mark.parametrize(
    ("m", "freedom", "q"), [(3, 10, 3.877), (4, 15, 4.076), (10, 20, 5.008), (2, 1, 17.97)]
)
def test_published_points_of_the_studentized_range(m: int, freedom: int, q: float) -> None:
    assert studentized_range(q, m, freedom) == pytest.approx(0.05, abs=5e-5)


@pytest.mark.parametrize(("m", "freedom"), [(2, 1), (3, 2), (4, 15), (20, 19), (50, 120), (20, 18_981)])
def test_the_studentized_range_is_scipys(m: int, freedom: int) -> None:
    with warnings.catch_warnings():  # of the last, scipy says that it may be wrong
        warnings.simplefilter("ignore")
        for q in (0.0, 0.3, 4.0, 12.0):
            expected = stats.studentized_range.sf(q, m, freedom)
            assert studentized_range(q, m, freedom) == pytest.approx(expected, abs=1e-8)


def test_blocks_are_not_noise() -> None:
    """However much queries differ, only how pipelines differ on each counts; a test of independent groups sees nothing."""
    harder = GRAFTS + np.arange(6)[:, None] * 100  # other batches, the same differences
    assert tukey_hsd(harder) == pytest.approx(tukey_hsd(GRAFTS), rel=1e-6)
    assert stats.tukey_hsd(*harder.T).pvalue.min() > 0.9


@given(GRIDS)
@settings(max_examples=25, deadline=None)
def test_it_is_the_studentized_range_on_the_residuals(values: np.ndarray) -> None:
    n, m = values.shape
    found = tukey_hsd(values)
    assert found is not None
    # least squares with a dummy for each query and pipeline, as a two-way analysis of variance is defined
    design = np.array([[*np.eye(n)[i], *np.eye(m)[j]] for i, j in product(range(n), range(m))])
    rest = values.ravel() - design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    freedom = (n - 1) * (m - 1)
    error = np.sqrt((rest @ rest) / freedom / n)
    if error > 1e-9:
        for i, j in combinations(range(m), 2):
            q = abs(values[:, i].mean() - values[:, j].mean()) / error
            assert found[i, j] == pytest.approx(stats.studentized_range.sf(q, m, freedom), abs=1e-6)
    assert (found == found.T).all()
    assert (np.diag(found) == 1).all()


def test_of_two_pipelines_it_is_the_paired_t_test() -> None:
    chance = np.random.default_rng(3)
    values = chance.random((25, 2)) + chance.random((25, 1)) + [0.0, 0.15]
    found = tukey_hsd(values)
    assert found is not None
    assert found[0, 1] == pytest.approx(t_test(values[:, 0] - values[:, 1]), abs=1e-6)


def test_where_no_noise_is_left() -> None:
    values = np.array([[0.1, 0.3, 0.1], [0.5, 0.7, 0.5], [0.2, 0.4, 0.2]])
    assert np.array_equal(tukey_hsd(values), [[1, 0, 1], [0, 1, 0], [1, 0, 1]])  # type: ignore[arg-type]
    assert np.array_equal(tukey_hsd(np.full((4, 3), 0.3)), np.ones((3, 3)))  # type: ignore[arg-type]
    assert tukey_hsd(values[:1]) is None
    assert randomised_tukey_hsd(values[:0]) is None


def test_shuffling_comes_near_to_every_order_of_every_query() -> None:
    values = np.array([[0.1, 0.3, 0.5], [0.2, 0.5, 0.4], [0.3, 0.35, 0.9], [0.1, 0.0, 0.3]])
    orders = product(permutations(range(3)), repeat=4)
    rows = np.arange(4)[:, None]
    ranges = np.array([np.ptp(values[rows, list(chosen)].mean(axis=0)) for chosen in orders])
    found = randomised_tukey_hsd(values, draws=20_000)
    assert found is not None
    means = values.mean(axis=0)
    for i, j in combinations(range(3), 2):
        exact = float((ranges >= abs(means[i] - means[j]) - 1e-12).mean())
        assert found[i, j] == pytest.approx(exact, abs=0.015)  # four standard errors


def test_shuffling_two_pipelines_is_the_randomisation_test() -> None:
    chance = np.random.default_rng(5)
    values = np.round(chance.random((12, 2)) + np.array([0.0, 0.2]), 2)
    exact = randomisation_test(values[:, 0] - values[:, 1])
    found = randomised_tukey_hsd(values, draws=20_000)
    assert found is not None
    assert found[0, 1] == found[1, 0] == pytest.approx(exact, abs=0.015)


def test_both_agree_where_values_are_normal() -> None:
    chance = np.random.default_rng(7)
    values = chance.normal(size=(60, 4)) * 0.1 + chance.normal(size=(60, 1)) + [0.0, 0.02, 0.05, 0.06]
    assert randomised_tukey_hsd(values, draws=5_000) == pytest.approx(tukey_hsd(values), abs=0.06)


def test_more_pipelines_ask_for_more() -> None:
    chance = np.random.default_rng(8)
    values = chance.random((40, 6)) + np.array([0.0, 0.2, 0.1, 0.1, 0.1, 0.1])
    for test in (tukey_hsd, randomised_tukey_hsd):
        few, many = test(values[:, :2]), test(values)
        assert few is not None
        assert many is not None
        assert many[0, 1] > few[0, 1]


def test_draws_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    base = randomised_tukey_hsd(GRAFTS, draws=999)
    assert base is not None
    assert np.array_equal(base, randomised_tukey_hsd(GRAFTS, draws=999))  # type: ignore[arg-type]
    assert not np.array_equal(base, randomised_tukey_hsd(GRAFTS, draws=999, seed=1))  # type: ignore[arg-type]
    assert base[0, 3] == base.min() >= 1 / 1000
    monkeypatch.setattr(tukey, "_BLOCK", 100)  # four orders at a time
    assert randomised_tukey_hsd(GRAFTS, draws=999) == pytest.approx(base, abs=0.06)


def test_bad_input_is_refused() -> None:
    for test in (tukey_hsd, randomised_tukey_hsd):
        for bad in ([[0.1, float("nan")]], [0.1, 0.2], [[0.1], [0.2]], 0.5):
            with pytest.raises(ValueError, match="finite numbers"):
                test(bad)
    with pytest.raises(ValueError, match="draws"):
        randomised_tukey_hsd(GRAFTS, draws=0)
