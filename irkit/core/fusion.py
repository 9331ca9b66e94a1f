"""Fusion: several rankings of the same queries become one. Columns in, columns out: no frame, no dictionary,
nothing compiled.

Every method has the same three steps. Each hit becomes a *contribution*, from its score (normalised within
its query) or its rank; the contributions of one document are combined; the documents are sorted canonically.

What the definitions leave open, and what is done here:

* A document that a ranking lacks contributes nothing to it: 0 to a sum, no candidate for a maximum (as in
  ranx). After z-scores 0 is the ranking's mean, so there a missing document beats one below the mean: prefer
  ``min-max`` when the rankings differ much in length.
* A ranking of weight 0 is left out, as if it had not been given: its documents do not appear, and it counts
  for nothing in ``combmnz``, ``combmax`` and ``borda``.
* ``min-max``: when all scores of a query are equal (one hit, say) every hit gets 1: the best hit always gets
  1. ranx gives 0, as if the only document that a retriever found were not found at all.
* ``z-score`` (population standard deviation, ranx's ``zmuv``): when all scores of a query are equal every hit
  gets 0.
* Ranks are those of the canonical order (score descending, code descending); ranx takes the order in which a
  dict was filled.
* Sums are made in float64, in the order of the rankings, and rounded once to float32: a query's result
  depends on that query alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import IntArray, Rankings, offsets_of, sort_segments

Method: TypeAlias = Literal["rrf", "combsum", "combmnz", "combmax", "borda"]
Norm: TypeAlias = Literal["min-max", "z-score", "none"]
FloatArray: TypeAlias = NDArray[np.float64]

RANK_METHODS: frozenset[Method] = frozenset({"rrf", "borda"})
"""The methods that look at ranks alone: a normalisation of scores means nothing to them."""

_BLOCK = 1 << 16
"""So many hits are fused at a time: what is written on the way stays in the processor's cache, and memory small."""
_DOC = np.uint64(32)
_POSITION = np.uint64(0xFFFFFFFF)


def fuse(
    rankings: Sequence[Rankings],
    method: Method = "rrf",
    *,
    norm: Norm = "none",
    weights: Sequence[float] | None = None,
    rrf_k: float = 60,
) -> Rankings:
    """Fuse rankings of the same Q queries.

    * ``rrf``: sum of w / (rrf_k + rank), rank from 1 (Cormack, Clarke, Buettcher: Reciprocal Rank Fusion
      Outperforms Condorcet and Individual Rank Learning Methods, SIGIR 2009).
    * ``combsum``: sum of w * normalised score (Fox, Shaw: Combination of Multiple Searches, TREC-2, 1994).
    * ``combmnz``: combsum times the number of rankings that have the document (same source).
    * ``combmax``: the largest w * normalised score (same source).
    * ``borda``: sum of w * points. With C documents in all rankings of the query together, the first gets C
      points, the next C - 1, and so on; what is left a ranking shares equally among the documents that it
      lacks (Aslam, Montague: Models for Metasearch, SIGIR 2001).

    Args:
        rankings: one or more, each of Q queries, aligned.
        method: how contributions are made and combined.
        norm: how the scores of each query of each ranking are normalised first; only for methods that use
            scores.
        weights: one for each of ``rankings``, not negative, 0 to leave one out; 1 for all when None.
        rrf_k: the constant of ``rrf``, positive or 0.

    Returns:
        for each query every document of any ranking whose weight is not 0, in canonical order.

    Raises:
        ValueError: for no rankings, other numbers of queries, weights that do not fit, a rank method with a
            normalisation, or sums beyond float32.
    """
    if not rankings:
        raise ValueError("there is nothing to fuse")
    if len({len(ranking) for ranking in rankings}) != 1:
        raise ValueError(
            f"the rankings have different numbers of queries: {[len(ranking) for ranking in rankings]}"
        )
    if method in RANK_METHODS and norm != "none":
        raise ValueError(f"{method} looks at ranks, so norm {norm!r} would have no effect")
    factors = check_weights(weights, len(rankings))
    if not rrf_k >= 0:
        raise ValueError(f"rrf_k is {rrf_k}: it must not be negative")
    rankings = [ranking for ranking, factor in zip(rankings, factors, strict=True) if factor]
    factors = [factor for factor in factors if factor]
    hits = np.sum([ranking.offsets for ranking in rankings], axis=0)
    cuts = np.unique(
        [0, *np.searchsorted(hits, np.arange(_BLOCK, hits[-1], _BLOCK)), len(rankings[0])]
    ).tolist()
    blocks = [[ranking.slice(start, stop) for ranking in rankings] for start, stop in pairwise(cuts)]
    return Rankings.concat([_fuse(block, method, norm, factors, rrf_k) for block in blocks])


def _fuse(
    rankings: Sequence[Rankings], method: Method, norm: Norm, factors: Sequence[float], rrf_k: float
) -> Rankings:
    offsets, doc, first, order = _group(rankings)
    if method == "rrf":
        parts = [w / (rrf_k + 1 + r.rank.astype(np.float64)) for w, r in zip(factors, rankings, strict=True)]
    elif method == "borda":
        parts = _borda(rankings, np.diff(offsets), factors)
    else:
        parts = [w * normalise(ranking, norm) for w, ranking in zip(factors, rankings, strict=True)]
    total = _combine(np.concatenate(parts)[order], first, maximum=method == "combmax")
    if method == "combmnz":
        total *= np.diff(first)
    if method == "borda":
        total += np.repeat(_borda_base(rankings, np.diff(offsets), factors), np.diff(offsets))
    with np.errstate(over="ignore"):
        score = total.astype(np.float32)
    if not np.isfinite(score).all():
        raise ValueError(f"{method} leaves the range of float32; normalise the scores")
    return Rankings.sort(offsets, doc, score)


def check_weights(weights: Sequence[float] | None, n: int) -> list[float]:
    """Return one weight for each of ``n`` rankings.

    Raises:
        ValueError: for another number of weights, or weights that are negative, not finite or all 0.
    """
    if weights is None:
        return [1.0] * n
    if len(weights) != n:
        raise ValueError(f"{len(weights)} weights for {n} rankings: there must be one for each")
    if not all(np.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise ValueError(f"weights {list(weights)}: they must be finite, not negative, and not all 0")
    return [float(w) for w in weights]


def normalise(rankings: Rankings, norm: Norm) -> FloatArray:
    """Return the scores as ``float64[n]``, normalised within each query (equal scores: see above)."""
    score = rankings.score.astype(np.float64)
    if norm == "none" or len(score) == 0:
        return score
    lengths = rankings.lengths
    some = lengths > 0
    start, size = rankings.offsets[:-1][some], lengths[some]
    if norm == "min-max":
        best, worst = score[start], score[start + size - 1]  # a ranking is sorted
        spread = best - worst
        flat = spread == 0
        shift, scale = np.where(flat, worst - 1, worst), np.where(flat, 1, spread)
    else:
        shift = np.add.reduceat(score, start) / size
        scale = np.sqrt(np.add.reduceat((score - np.repeat(shift, size)) ** 2, start) / size)
        flat = score[start] == score[start + size - 1]
        shift, scale = np.where(flat, score[start], shift), np.where(flat, 1, scale)
    score -= np.repeat(shift, size)
    score /= np.repeat(scale, size)
    return score


def _group(rankings: Sequence[Rankings]) -> tuple[IntArray, NDArray[np.int32], IntArray, IntArray]:
    """Bring the hits of one document together.

    Returns:
        ``offsets`` of the fused rankings, their ``doc``, ``first`` (int64[n + 1], where the hits of each
        fused document begin), and ``order``: the hits of all rankings, one ranking after the other, by query,
        document and ranking.
    """
    n_queries = len(rankings[0])
    lengths = np.stack([ranking.lengths for ranking in rankings])
    begin = np.cumsum(lengths, axis=0) - lengths  # where a ranking's hits begin within the query's hits
    bounds = offsets_of(lengths.sum(axis=0))
    n = int(bounds[-1])
    keys = np.empty(n, np.uint64)
    source = np.empty(n, np.int64)
    before = 0
    for ranking, shift in zip(rankings, begin, strict=True):
        # One integer per hit: its document, then its position within the query, which is also the order of
        # the rankings.
        position = ranking.rank + np.repeat(shift, ranking.lengths)
        place = position + np.repeat(bounds[:-1], ranking.lengths)
        keys[place] = (ranking.doc.astype(np.uint64) << _DOC) | position.astype(np.uint64)
        source[place] = np.arange(before, before + len(ranking.doc))
        before += len(ranking.doc)
    keys = sort_segments(keys, bounds)
    order = source[(keys & _POSITION).astype(np.int64) + np.repeat(bounds[:-1], np.diff(bounds))]
    doc = (keys >> _DOC).astype(np.int32)
    new = np.ones(n, dtype=np.bool_)
    new[1:] = doc[1:] != doc[:-1]
    new[bounds[:-1][np.diff(bounds) > 0]] = True
    first = np.flatnonzero(new)
    offsets = np.searchsorted(first, bounds).astype(np.int64)
    return offsets.reshape(n_queries + 1), doc[first], np.append(first, n), order


def _combine(values: FloatArray, first: IntArray, *, maximum: bool) -> FloatArray:
    """Sum each group of values, or take its largest, in their order: one pass for each ranking."""
    total = values[first[:-1]].copy()
    size = np.diff(first)
    for step in range(1, int(size.max(initial=1))):
        group = np.flatnonzero(size > step)
        more = values[first[group] + step]
        total[group] = np.maximum(total[group], more) if maximum else total[group] + more
    return total


def _borda(rankings: Sequence[Rankings], candidates: IntArray, weights: Sequence[float]) -> list[FloatArray]:
    """Return what each hit gets beyond what its ranking would give a document it lacks."""
    return [
        w * (np.repeat(candidates - _left_over(ranking, candidates), ranking.lengths) - ranking.rank)
        for w, ranking in zip(weights, rankings, strict=True)
    ]


def _borda_base(rankings: Sequence[Rankings], candidates: IntArray, weights: Sequence[float]) -> FloatArray:
    """Return what a document would get of every query (``float64[Q]``) if no ranking had it."""
    base = np.zeros(len(candidates))
    for w, ranking in zip(weights, rankings, strict=True):
        base += w * _left_over(ranking, candidates)
    return base


def _left_over(ranking: Rankings, candidates: IntArray) -> FloatArray:
    return (candidates - ranking.lengths + 1) / 2
