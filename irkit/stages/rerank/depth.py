"""Reranking the first documents of a ranking and keeping the others, in their order, below them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import CodeArray, Rankings, ScoreArray

_LOWEST = -int(np.finfo(np.float32).max.view(np.int32))
"""The place of the least finite float32."""


def rerank(
    rankings: Rankings, depth: int | None, score: Callable[[int, CodeArray], ScoreArray | None]
) -> Rankings:
    """Give the first ``depth`` documents of every query (all for None) new scores.

    The others follow with their old scores, moved as a whole: the old score of the last reranked document becomes the least new
    score (see :func:`below`). So their order, ties and distances stay, and fusing the result by scores still works.

    Args:
        rankings: the candidates.
        depth: how many to rerank, at least 1.
        score: returns finite scores (``float32[n]``) for the number of a query and some documents; or None where it has nothing to
            tell them apart by: then all of the query's documents keep their scores, and so their order, ties and distances.
    """
    scores = rankings.score.copy()
    for query, (start, stop) in enumerate(zip(rankings.offsets[:-1], rankings.offsets[1:], strict=True)):
        if start == stop:
            continue
        middle = stop if depth is None else min(start + depth, stop)
        new = score(query, rankings.doc[start:middle])
        if new is None:
            continue
        scores[start:middle] = new
        if middle < stop:
            scores[middle:stop] = below(scores[start:middle].min(), rankings.score[middle - 1 : stop])
    return rankings.with_scores(scores)


def below(least: np.float32, old: ScoreArray) -> ScoreArray:
    """Move scores below ``least``: new = least - (old[0] - old), rounded to float32.

    Equal scores stay equal, and different ones different: where rounding would make them equal, or one as great as ``least``,
    a score is the next smaller float32 instead.

    Args:
        least: what all results are less than; not among the last float32 numbers before -3.4e38, for there is no room below.
        old: ``float32[1 + n]``, finite, descending: the score that ``least`` takes the place of, and those to move.

    Returns:
        ``float32[n]``, finite, descending.
    """
    moved = np.float64(least) - (np.float64(old[0]) - old[1:].astype(np.float64))
    falls = np.diff(old) < 0
    falls[0] = True
    level = np.cumsum(falls)  # of which no two may become one
    place = _places(np.clip(moved, np.finfo(np.float32).min, None).astype(np.float32)) + level
    place = np.minimum.accumulate(np.minimum(place, _places(np.array([least])))) - level
    return _floats(np.maximum(place, _LOWEST + level[-1] - level))


def _places(values: ScoreArray) -> NDArray[np.int64]:
    """Return the places of float32 numbers among all of them, ``int64[n]``; that of 0 is 0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _floats(places: NDArray[np.int64]) -> ScoreArray:
    """Return the float32 numbers at these places."""
    magnitudes = np.abs(places).astype(np.int32).view(np.float32)
    return np.where(places < 0, -magnitudes, magnitudes)
