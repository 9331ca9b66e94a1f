"""Tests of merging the pieces of words and of pooling similar tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.stages.multivector.pooling import merge_words, pool_tokens


def unit(rng: np.random.Generator, rows: int, dim: int = 12) -> np.ndarray:
    vectors = rng.normal(size=(rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999), rows=st.integers(1, 40), factor=st.integers(1, 6), protected=st.integers(0, 1)
)
def test_pooling_is_that_of_sentence_transformers(seed: int, rows: int, factor: int, protected: int) -> None:
    import torch
    from sentence_transformers.multi_vector_encoder.modules.token_pooling import HierarchicalTokenPooling

    vectors = unit(np.random.default_rng(seed), rows)
    oracle = HierarchicalTokenPooling(float(factor), num_protected_tokens=protected)
    expected = (
        oracle.pool([torch.from_numpy(vectors.astype(np.float32))])[0].numpy() if factor > 1 else vectors
    )
    ours = pool_tokens(vectors, factor, True, protected)
    assert len(ours) == len(expected)
    # the order of the clusters is ours: that of their first tokens
    distances = np.abs(ours[:, None, :] - expected[None].astype(np.float32)).max(axis=2)
    assert distances.min(axis=1).max() < 2e-3  # where nothing is pooled, float16 is left as it is
    assert sorted(distances.argmin(axis=1)) == list(range(len(ours)))


def test_counts_and_order() -> None:
    vectors = unit(np.random.default_rng(0), 21)
    pooled = pool_tokens(vectors, 2, True)
    assert len(pooled) == 1 + 20 // 2
    assert np.array_equal(pooled[0], vectors[0])
    np.testing.assert_allclose(np.linalg.norm(pooled.astype(np.float64), axis=1), 1, atol=2e-3)
    assert len(pool_tokens(vectors, 100, True)) == 2
    assert len(pool_tokens(vectors[:1], 2, True)) == 1
    pairs = np.repeat(np.eye(4, dtype=np.float16), 2, axis=0)[[0, 2, 1, 4, 3, 6, 5, 7]]
    assert np.array_equal(pool_tokens(pairs, 2, True, 0), np.eye(4))


def test_vectors_without_a_fixed_length_are_averaged_as_they_are() -> None:
    vectors = np.array([[4, 0], [2, 0], [0, 3], [0, 1]], np.float16)
    assert pool_tokens(vectors, 2, False, 0).tolist() == [[3, 0], [0, 2]]
    merged, _ = merge_words(vectors, np.array([1, 2, 1, 2], np.uint32), False)
    assert merged.tolist() == [[2, 1.5], [1, 0.5]]


def test_a_word_is_the_mean_of_its_pieces_wherever_it_occurs() -> None:
    vectors = unit(np.random.default_rng(1), 7)
    words = np.array([0, 9, 9, 4, 9, 4, 0], np.uint32)
    merged, names = merge_words(vectors, words, True)
    assert names.tolist() == [9, 4]  # in the order of their first pieces
    for row, name in enumerate(names):
        mean = vectors[words == name].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(merged[row], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_document_of_special_tokens_keeps_them() -> None:
    vectors = unit(np.random.default_rng(2), 2)
    merged, names = merge_words(vectors, np.zeros(2, np.uint32), True)
    assert np.array_equal(merged, vectors)
    assert names.tolist() == [0, 0]
