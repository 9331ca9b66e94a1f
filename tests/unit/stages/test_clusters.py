"""Tests of k-means for the tokens of one query: as good as scikit-learn's, and the same for every order of arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.models.encoder import unit
from irkit.stages.multivector.clusters import clusters


def spread(rows: np.ndarray, centroids: np.ndarray) -> float:
    wide = rows.astype(np.float64)
    return float(np.square(wide[:, None] - centroids.astype(np.float64)).sum(axis=2).min(axis=1).sum())


def groups(rng: np.random.Generator, count: int, each: int, noise: float) -> np.ndarray:
    centres = unit(rng.normal(size=(count, 16)))
    rows = np.repeat(centres, each, axis=0) + noise * rng.normal(size=(count * each, 16))
    return unit(rows).astype(np.float16)


def test_separate_groups_are_found_and_centroids_are_their_means() -> None:
    rows = groups(np.random.default_rng(0), 6, 20, 0.05)
    found = clusters(rows, 6)
    means = rows.astype(np.float64).reshape(6, 20, 16).mean(axis=1)
    order = [int(np.square(found - mean).sum(axis=1).argmin()) for mean in means]
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(found[order], means, atol=2e-6)
    assert (np.linalg.norm(found, axis=1) < 0.999).all()  # plain means, not brought back to length 1


def test_it_is_as_good_as_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.cluster")
    for seed in range(5):
        rows = groups(np.random.default_rng(seed), 12, 25, 0.25)
        theirs = sklearn.KMeans(10, n_init=10, random_state=42).fit(rows.astype(np.float64))
        assert spread(rows, clusters(rows, 10)) <= 1.02 * theirs.inertia_


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(0, 40), count=st.integers(0, 12), same=st.integers(1, 4))
def test_every_centroid_is_the_mean_of_the_rows_nearest_to_it(
    seed: int, n: int, count: int, same: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.repeat(unit(rng.normal(size=(n, 8))).astype(np.float16), same, axis=0)
    found = clusters(rows, count)
    assert found.dtype == np.float32
    assert len(found) == min(count, n)  # equal rows make no further cluster
    home = (
        np.square(rows.astype(np.float64)[:, None] - found).sum(axis=2).argmin(axis=1) if len(found) else []
    )
    for number in range(len(found)):
        mean = rows[home == number].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found[number], mean, atol=1e-5)
    assert clusters(rows, count).tobytes() == found.tobytes()


def test_the_seed_decides() -> None:
    rows = groups(np.random.default_rng(3), 20, 10, 0.5)
    assert not np.array_equal(clusters(rows, 8, seed=1, starts=1), clusters(rows, 8, seed=2, starts=1))
    many, one = (spread(rows, clusters(rows, 8, starts=starts)) for starts in (20, 1))
    assert many <= one
