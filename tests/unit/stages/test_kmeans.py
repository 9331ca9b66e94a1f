"""Tests of spherical k-means and of the search for the nearest centroid."""

from __future__ import annotations

import numpy as np
import pytest

from irkit.stages.multivector.grid import COARSE, on_coarse_grid
from irkit.stages.multivector.kmeans import FAR_PROBES, Nearest, greatest, kmeans


def unit(rng: np.random.Generator, rows: int, dim: int = 16) -> np.ndarray:
    vectors = rng.normal(size=(rows, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_nearest_is_the_nearest() -> None:
    rng = np.random.default_rng(0)
    centroids, vectors = unit(rng, 100), unit(rng, 500)
    ids, scores = Nearest(centroids).assign_scored(vectors)
    similar = np.rint(vectors * COARSE).astype(int) @ np.rint(centroids * COARSE).astype(int).T
    assert np.array_equal(ids, similar.argmax(axis=1))
    assert np.array_equal(scores, similar.max(axis=1) / COARSE**2)


@pytest.mark.parametrize("dim", [1, 2, 128, 4096])
def test_products_on_the_coarse_grid_are_exact_in_single_precision(dim: int) -> None:
    """Vectors a hundredth too long, of equal signs, of which the last partial sums are the greatest there are."""
    rng = np.random.default_rng(dim)
    vectors = 1.01 * unit(rng, 50, dim)
    near = on_coarse_grid(vectors)
    assert near.dtype == np.float32
    assert np.abs(near - vectors * COARSE).max() <= 0.501
    whole = near.astype(np.int64)
    assert np.array_equal(near @ near.T, whole @ whole.T)
    assert np.array_equal(np.abs(near) @ np.abs(near).T, np.abs(whole) @ np.abs(whole).T)
    assert np.abs(whole @ whole.T).max() < 1 << 24


def test_of_equal_centroids_the_lower_number_wins() -> None:
    rng = np.random.default_rng(1)
    centroids = unit(rng, 64)
    twice = np.concatenate([centroids, centroids])
    vectors = unit(rng, 300)
    assert np.array_equal(Nearest(twice).assign(vectors), Nearest(centroids).assign(vectors))
    assert Nearest(twice, exact=10, probes=99).assign(vectors).max() < 64


def test_cells_find_nearly_always_the_nearest_and_all_cells_always() -> None:
    rng = np.random.default_rng(2)
    vectors = unit(rng, 4000, 8)
    centroids = unit(rng, 1024, 8)
    exact = Nearest(centroids).assign(vectors)
    assert (Nearest(centroids, exact=10).assign(vectors) == exact).mean() > 0.95
    assert (Nearest(centroids, exact=10, probes=1).assign(vectors) == exact).mean() < 0.95
    assert np.array_equal(Nearest(centroids, exact=10, probes=10**6).assign(vectors), exact)


@pytest.mark.parametrize("exact", [10, 1000])
def test_companions_do_not_change_an_assignment(exact: int) -> None:
    rng = np.random.default_rng(3)
    nearest, vectors = Nearest(unit(rng, 300), exact=exact), unit(rng, 200)
    whole = nearest.assign(vectors)
    assert np.array_equal(
        np.concatenate([nearest.assign(vectors[i : i + 7]) for i in range(0, 200, 7)]), whole
    )
    assert np.array_equal(nearest.assign(vectors[::-1])[::-1], whole)


def test_kmeans_finds_clusters() -> None:
    rng = np.random.default_rng(4)
    centres = np.eye(16)[:6]
    sample = np.repeat(centres, 50, axis=0) + 0.05 * rng.normal(size=(300, 16))
    found = kmeans(sample, 12, iterations=10)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.all((found @ centres.T).max(axis=0) > 0.98)  # every cluster has a centroid


def test_a_step_is_the_mean_of_the_members() -> None:
    """With as many iterations as it takes, centroids are the directions of their members' sums."""
    rng = np.random.default_rng(5)
    sample = unit(rng, 200, 4)
    found = kmeans(sample, 5, iterations=50)
    near = Nearest(found).assign(sample)
    for cluster in range(5):
        total = sample[near == cluster].sum(axis=0)
        np.testing.assert_allclose(found[cluster], total / np.linalg.norm(total), atol=1e-5)


def test_iterations_help() -> None:
    sample = unit(np.random.default_rng(6), 2000, 8)

    def similarity(iterations: int) -> float:
        return float(Nearest(kmeans(sample, 40, iterations=iterations)).assign_scored(sample)[1].mean())

    assert similarity(0) < similarity(1) < similarity(4)


def test_no_cluster_stays_empty() -> None:
    """49 equal rows and 7 others: centroids that start on equal rows are empty, and start again at the rows that are far away."""
    others = np.eye(8)[1:]
    sample = np.concatenate([np.tile(np.eye(8)[:1], (49, 1)), others])
    found = kmeans(sample, 8, iterations=8)
    assert np.all((found @ np.eye(8)).max(axis=0) > 0.999)


def test_few_rows() -> None:
    assert kmeans(np.zeros((0, 3)), 5).shape == (0, 3)
    assert np.array_equal(kmeans(np.eye(3), 5), np.eye(3))
    assert not np.isnan(kmeans(np.zeros((4, 3)), 2)).any()


def test_a_cluster_whose_members_cancel_out_keeps_its_centroid() -> None:
    sample = np.array([[1.0, 0], [-1, 0]])
    (found,) = kmeans(sample, 1)
    assert found.tolist() in sample.tolist()


def test_the_seed_decides() -> None:
    sample = unit(np.random.default_rng(7), 300)
    assert np.array_equal(kmeans(sample, 10, seed=1), kmeans(sample, 10, seed=1))
    assert not np.array_equal(kmeans(sample, 10, seed=1), kmeans(sample, 10, seed=2))


def test_a_large_sample_is_thinned() -> None:
    sample = unit(np.random.default_rng(8), 1000, 4)
    assert np.array_equal(kmeans(sample, 2), kmeans(sample[np.arange(80) * 1000 // 80], 2))


def test_ties_between_cells_go_to_the_lower_number_too() -> None:
    """The zero vector is equally near to all centroids."""
    nearest = Nearest(unit(np.random.default_rng(9), 100), exact=10, probes=100)
    assert nearest.assign(np.zeros((3, 16))).tolist() == [0, 0, 0]


def test_what_is_kept_is_nearly_always_the_nearest_and_never_far_from_it() -> None:
    """Directions in groups, as those of tokens are; the tail counts too, not the mean alone."""
    rng = np.random.default_rng(10)
    topics = unit(rng, 300, 32)
    points = topics[rng.integers(0, 300, 6096)] + 0.6 * unit(rng, 6096, 32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centroids, vectors = points[:4096], points[4096:]
    best = Nearest(centroids, exact=10**6).assign_scored(vectors)[1]

    def tail(far_probes: int) -> tuple[float, float]:
        lost = best - Nearest(centroids, far_probes=far_probes).assign_scored(vectors)[1]
        return float((lost > 0).mean()), float(lost.max())

    share, worst = tail(FAR_PROBES)
    assert share < 0.01
    assert worst < 0.15
    assert tail(0)[0] > 2 * share


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_of_tied_values_the_first_are_marked(count: int) -> None:
    rng = np.random.default_rng(11)
    values = rng.integers(-2, 3, (500, 5)).astype(float)
    marked = greatest(values, count)
    for row, marks in zip(values, marked, strict=True):
        first = sorted(range(5), key=lambda i: (-row[i], i))[:count]
        assert np.flatnonzero(marks).tolist() == sorted(first)
