"""Tests of vector indexes: exactness, ties at the end, and one answer whatever computes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.errors import ConfigError, DependencyError
from irkit.core.rankings import Rankings
from irkit.stages import vector_index
from irkit.stages.faiss_index import FaissIndex, HnswOptions, IvfPqOptions, build_index
from irkit.stages.vector_index import Flat, error_bound, exact_scores


def brute(vectors: np.ndarray, queries: np.ndarray, depth: int) -> Rankings:
    """The definition: float64 dot products rounded to float32, by score and code descending."""
    codes, scores = [], []
    for query in queries:
        exact = [
            np.float32(sum(float(a) * float(b) for a, b in zip(query, row, strict=True))) for row in vectors
        ]
        order = sorted(range(len(vectors)), key=lambda i: (-exact[i], -i))[:depth]
        codes.append(order)
        scores.append([exact[i] for i in order])
    return Rankings.from_lists(codes, scores)


def same(found: Rankings, expected: Rankings) -> None:
    assert np.array_equal(found.doc, expected.doc)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-6)


@pytest.mark.parametrize("library", ["faiss", "torch"])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 120),
    depth=st.integers(1, 130),
    distinct=st.integers(1, 60),
)
def test_flat_is_exact_with_duplicates(library: str, seed: int, rows: int, depth: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(distinct, 8)).astype(np.float32)[rng.integers(0, distinct, rows)]
    queries = rng.normal(size=(3, 8)).astype(np.float32)
    same(Flat(vectors, library=library).search(queries, depth), brute(vectors, queries, depth))


@pytest.mark.parametrize("library", ["faiss", "torch"])
def test_a_tie_at_the_end_larger_than_the_margin_is_broken_by_code(library: str) -> None:
    vectors = np.tile(np.array([[0.6, 0.8]], np.float32), (500, 1))
    vectors[7] = [1, 0]
    found = Flat(vectors, library=library).search(np.array([[1, 0]], np.float32), 10)
    assert found.doc.tolist() == [7, *range(499, 490, -1)]


def test_scores_closer_than_float32_arithmetic_are_ordered_exactly() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=64)
    vectors = (base + rng.normal(size=(2000, 64)) * 1e-7).astype(np.float32)
    queries = rng.normal(size=(4, 64)).astype(np.float32)
    expected = brute(vectors, queries, 20)
    for library in ("faiss", "torch"):
        same(Flat(vectors, library=library).search(queries, 20), expected)


def test_library_batch_threads_and_block_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3000, 48)).astype(np.float32)
    vectors[1000:1500] = vectors[:500]
    queries = rng.normal(size=(40, 48)).astype(np.float32)
    expected = Flat(vectors, library="faiss", threads=1).search(queries, 50)
    assert Flat(vectors, library="faiss", threads=2).search(queries, 50) == expected
    assert Rankings.concat([Flat(vectors).search(queries[i : i + 1], 50) for i in range(40)]) == expected
    for block in (1 << 16, 700):
        monkeypatch.setattr(vector_index, "_BLOCK", block)
        assert Flat(vectors, library="torch").search(queries, 50) == expected


def test_the_error_bound_holds() -> None:
    rng = np.random.default_rng(2)
    vectors, query = rng.normal(size=(5000, 300)).astype(np.float32), rng.normal(size=300).astype(np.float32)
    error = np.abs(
        (vectors @ query).astype(np.float64) - vectors.astype(np.float64) @ query.astype(np.float64)
    ).max()
    longest = float(np.linalg.norm(vectors, axis=1).max())
    bound = error_bound(query, longest)
    assert error < bound < 1e-4 * longest * float(np.linalg.norm(query))


def test_a_score_is_a_function_of_its_two_vectors() -> None:
    rng = np.random.default_rng(3)
    vectors, query = rng.normal(size=(300, 100)).astype(np.float32), rng.normal(size=100).astype(np.float32)
    alone = np.concatenate([exact_scores(query, vectors[i : i + 1]) for i in range(300)])
    assert np.array_equal(exact_scores(query, vectors), alone)


def test_without_faiss_torch_gives_the_same_and_faiss_says_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    vectors, queries = (
        rng.normal(size=(200, 8)).astype(np.float32),
        rng.normal(size=(2, 8)).astype(np.float32),
    )
    expected = Flat(vectors).search(queries, 5)
    real = importlib.util.find_spec
    monkeypatch.setattr(vector_index, "find_spec", lambda name: None if name == "faiss" else real(name))
    index = Flat(vectors)
    assert index.library == "torch"
    assert index.search(queries, 5) == expected
    with pytest.raises(DependencyError, match=r"pip install 'irkit\[cpu\]'"):
        vector_index.faiss()


@pytest.mark.parametrize("kind", ["hnsw", "ivf-pq"])
def test_approximate_indexes_find_most_and_score_exactly(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(40, 32))[rng.integers(0, 40, 1500)] + rng.normal(size=(1500, 32)) * 0.3
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = vectors[:30] + rng.normal(size=(30, 32)).astype(np.float32) * 0.05
    options = {"hnsw": HnswOptions(), "ivf_pq": IvfPqOptions(m=16)}
    for name in ("one", "two"):
        build_index(vectors, kind, options["hnsw"], options["ivf_pq"], tmp_path / name)  # type: ignore[arg-type]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    index = FaissIndex(vectors, tmp_path / "one", threads=2, **options)  # type: ignore[arg-type]
    found, exact = index.search(queries, 10), Flat(vectors).search(queries, 10)
    overlap = np.mean([len(np.intersect1d(found[q][0], exact[q][0])) / 10 for q in range(30)])
    assert overlap > 0.9
    for query in range(30):
        codes, scores = found[query]
        np.testing.assert_array_equal(scores, exact_scores(queries[query], vectors[codes]))
    alone = FaissIndex(vectors, tmp_path / "one", threads=1, **options)  # type: ignore[arg-type]
    assert Rankings.concat([alone.search(queries[i : i + 1], 10) for i in range(30)]) == found


def test_ivf_pq_says_what_it_cannot_do(tmp_path: Path) -> None:
    few, many = np.ones((100, 32), np.float32), np.ones((300, 32), np.float32)
    with pytest.raises(ConfigError, match="index: flat"):
        build_index(few, "ivf-pq", HnswOptions(), IvfPqOptions(m=16), tmp_path / "x")
    with pytest.raises(ConfigError, match="does not divide"):
        build_index(many, "ivf-pq", HnswOptions(), IvfPqOptions(m=7), tmp_path / "x")
    assert not (tmp_path / "x").exists()
