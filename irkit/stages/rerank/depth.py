"""Reranking the first documents of a ranking and keeping the others, in their order, below them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from irkit.core.rankings import CodeArray, Rankings, ScoreArray


def rerank(rankings: Rankings, depth: int | None, score: Callable[[int, CodeArray], ScoreArray]) -> Rankings:
    """Give the first ``depth`` documents of every query (all for None) new scores.

    The others follow: their scores are consecutive integers below the least new score, so they sort as they
    were.

    Args:
        rankings: the candidates.
        depth: how many to rerank.
        score: returns finite scores (``float32[n]``) for the number of a query and some documents.
    """
    scores = np.empty(len(rankings.doc), np.float32)
    for query, (start, stop) in enumerate(zip(rankings.offsets[:-1], rankings.offsets[1:], strict=True)):
        if start == stop:
            continue
        middle = stop if depth is None else min(start + depth, stop)
        scores[start:middle] = score(query, rankings.doc[start:middle])
        scores[middle:stop] = below(float(scores[start:middle].min()), int(stop - middle))
    return rankings.with_scores(scores)


def below(least: float, count: int) -> ScoreArray:
    """Return ``count`` distinct float32 numbers, descending, all less than ``least``.

    Steps of 1 where float32 can tell them apart, wider ones where ``least`` is beyond 2^23.
    """
    step = max(1.0, float(np.spacing(np.float32(abs(least) + count))) * 2)
    scores: ScoreArray = ((np.floor(least / step) - 1.0 - np.arange(count)) * step).astype(np.float32)
    return scores
