"""Fewer vectors a document: the mean of each word's pieces, and of each cluster of similar tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.stages.multivector.grid import normalise, on_grid


def merge_words(
    vectors: NDArray[Any], words: NDArray[np.uint32], unit: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Return a document's bag of whole words (Hofstätter et al. 2022, "ColBERTer", section 3.2): the mean of the vectors of all
    tokens that are pieces of one word, wherever it occurs; special tokens (word 0) are left out.

    A document of special tokens only keeps them as they are: it would have no vector at all.

    Args:
        vectors: ``[n, dim]``.
        words: ``uint32[n]``.
        unit: whether the vectors have length 1; then the means are brought to length 1 too. ColBERTer's own vectors
            have no fixed length, and its means are left as they are.

    Returns:
        ``float32[m, dim]`` and the words ``uint32[m]``, in the order in which each word first occurs.
    """
    counted = words != 0
    if not counted.any():
        return np.asarray(vectors, np.float32), words
    names, first, group = np.unique(words[counted], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return _means(vectors[counted], rank[group], len(names), unit), names[order]


def pool_tokens(vectors: NDArray[Any], factor: int, unit: bool, protected: int = 1) -> NDArray[np.float32]:
    """Return the means of clusters of a document's tokens (Clavié et al. 2024, "Reducing the Footprint of Multi-Vector Retrieval
    with Minimal Performance Impact via Token Pooling", section 2; arXiv 2409.14683).

    Ward's clustering of the cosine distances is cut into floor(n / factor) clusters, at least one. The first token, [CLS] for
    most models, stays as it is and in front, as in PyLate and sentence-transformers, so n is one less than the tokens.
    Clusters stand in the order of the first token in each.

    Args:
        vectors: ``[n, dim]``.
        factor: how many tokens become one, on average.
        unit: whether the vectors have length 1; then the means are brought to length 1 too.
        protected: how many of the first tokens are left alone.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    kept, rest = np.asarray(vectors[:protected], np.float32), vectors[protected:]
    count = max(len(rest) // factor, 1)
    if count >= len(rest):
        return np.asarray(vectors, np.float32)
    points = on_grid(rest)
    if not unit:
        points = on_grid(normalise(points))
    distances = np.clip(1.0 - points @ points.T, 0.0, 2.0)
    labels = fcluster(linkage(distances[np.triu_indices(len(rest), 1)], "ward"), count, "maxclust")
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.concatenate([kept, _means(rest, rank[group], len(first), unit)])


def _means(vectors: NDArray[Any], group: NDArray[np.int64], groups: int, unit: bool) -> NDArray[np.float32]:
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    sums = np.add.reduceat(on_grid(vectors)[order], starts, axis=0)
    means = sums / np.bincount(group, minlength=groups)[:, None]
    return normalise(means) if unit else means.astype(np.float32)
