"""Ball carving: fewer query vectors for reranking, each standing for similar tokens (MUVERA, arXiv 2405.19504, section 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import offsets_of
from irkit.models.ragged import Ragged

Floats = NDArray[np.float32]


def carve(tokens: Floats, threshold: float) -> Floats:
    """Cover a query's tokens by balls and return one sum a ball, ``float32[balls, dim]``, in the order of their first tokens.

    The first token that no ball holds yet is the centre of the next; every remaining token whose cosine to the centre is at least
    ``threshold`` falls in. Of sums instead of tokens, MaxSim scores less or the same: a ball's tokens share the document token that
    matches it best. With a threshold above 1 every token is a ball of its own.

    Args:
        tokens: ``float32[n, dim]``. A zero vector has cosine 0 to all others.
        threshold: the least cosine inside a ball; 0.7 in the paper.
    """
    norms = np.sqrt(np.square(tokens, dtype=np.float64).sum(axis=1))
    unit = tokens / np.where(norms > 0.0, norms, 1.0)[:, None]
    free, balls = np.ones(len(tokens), bool), []
    for centre in range(len(tokens)):
        if free[centre]:
            inside = free & ((unit * unit[centre]).sum(axis=1) >= threshold)
            inside[centre] = True
            free &= ~inside
            balls.append(tokens[inside].sum(axis=0, dtype=np.float64))
    return np.array(balls, np.float32).reshape(len(balls), tokens.shape[1])


def carve_all(queries: Ragged, threshold: float) -> Ragged:
    """Carve every query; the tokens' words are lost, for a ball may hold many."""
    parts = [carve(queries[row], threshold) for row in range(len(queries))]
    empty = np.zeros((0, queries.vectors.shape[1]), np.float32)
    return Ragged(offsets_of([len(part) for part in parts]), np.concatenate([empty, *parts]))
