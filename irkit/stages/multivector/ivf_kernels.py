"""The inner loops of token retrieval over inverted lists. Import it inside functions: it loads numba.

Every sum here is taken in one order that depends on the query alone, so a query's scores are the same alone and in a batch, with
one thread and with many. Between processors they can differ in the last bits, for compilers fuse multiplications and
additions where the processor can.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any
"""An array that numba compiles for."""

_STRIP = 2048
"""Centroids whose scores are worked on at a time: four rows of so many columns fit the first-level cache."""
_STRETCH = 64
"""Centroids' scores that are passed over together."""
_LEAST = np.finfo(np.float32).min
"""What a document has that was met and has no score yet."""


@numba.njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def centroid_scores(query: Array, columns: Array, out: Array) -> None:
    """Write the dot products of query tokens and centroids.

    A matrix library may add up the same product differently in a larger batch or with more threads; this sums over the
    dimensions in ascending order, and vector instructions run over centroids.

    Args:
        query: ``float32[n, dim]``; ``dim`` is a multiple of 4 (pad with zeros).
        columns: ``float32[dim, nlist]``, the centroids as columns.
        out: ``float32[n, nlist]``, overwritten.
    """
    dim, nlist = columns.shape
    n = len(query)
    for start in range(0, nlist, _STRIP):
        stop = min(start + _STRIP, nlist)
        out[:, start:stop] = np.float32(0.0)
        for d in range(0, dim, 4):
            c0, c1 = columns[d, start:stop], columns[d + 1, start:stop]
            c2, c3 = columns[d + 2, start:stop], columns[d + 3, start:stop]
            i = 0
            while i + 4 <= n:  # four query tokens share what is read of the centroids
                r0, r1 = out[i, start:stop], out[i + 1, start:stop]
                r2, r3 = out[i + 2, start:stop], out[i + 3, start:stop]
                a0, a1, a2, a3 = query[i, d], query[i, d + 1], query[i, d + 2], query[i, d + 3]
                b0, b1, b2, b3 = (
                    query[i + 1, d],
                    query[i + 1, d + 1],
                    query[i + 1, d + 2],
                    query[i + 1, d + 3],
                )
                e0, e1, e2, e3 = (
                    query[i + 2, d],
                    query[i + 2, d + 1],
                    query[i + 2, d + 2],
                    query[i + 2, d + 3],
                )
                f0, f1, f2, f3 = (
                    query[i + 3, d],
                    query[i + 3, d + 1],
                    query[i + 3, d + 2],
                    query[i + 3, d + 3],
                )
                for j in range(stop - start):
                    x0, x1, x2, x3 = c0[j], c1[j], c2[j], c3[j]
                    r0[j] = r0[j] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    r1[j] = r1[j] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                    r2[j] = r2[j] + e0 * x0 + e1 * x1 + e2 * x2 + e3 * x3
                    r3[j] = r3[j] + f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3
                i += 4
            while i < n:
                r0 = out[i, start:stop]
                a0, a1, a2, a3 = query[i, d], query[i, d + 1], query[i, d + 2], query[i, d + 3]
                for j in range(stop - start):
                    r0[j] = r0[j] + a0 * c0[j] + a1 * c1[j] + a2 * c2[j] + a3 * c3[j]
                i += 1


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def greatest(numbers: Array) -> float:
    """Return the greatest of ``float32[n]``, n > 0, none NaN."""
    most = numbers[0]
    for number in numbers:
        most = max(most, number)
    return float(most)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sink(best: Array, ids: Array, at: int, size: int) -> None:
    """Restore a heap, whose root is the last in order (the least score; of equals the greatest number), below one place."""
    score, number = best[at], ids[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        right = child + 1
        if right < size and (
            best[right] < best[child] or (best[right] == best[child] and ids[right] > ids[child])
        ):
            child = right
        if best[child] > score or (best[child] == score and ids[child] < number):
            break
        best[at], ids[at] = best[child], ids[child]
        at = child
    best[at], ids[at] = score, number


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def leading(scores: Array, count: int) -> Array:
    """Return the numbers of the ``count`` greatest of ``float32[nlist]``, in descending order, the lower of equals first.

    A heap of the best so far; a stretch of scores whose greatest does not reach into it is passed over as a whole.
    """
    ids = np.arange(count)
    best = scores[:count].copy()
    for at in range(count // 2 - 1, -1, -1):
        sink(best, ids, at, count)
    for start in range(count, len(scores), _STRETCH):
        stretch = scores[start : start + _STRETCH]
        if greatest(stretch) <= best[0]:
            continue
        for c in range(len(stretch)):
            if stretch[c] > best[0]:  # an equal score has the greater number: it comes after
                best[0], ids[0] = stretch[c], start + c
                sink(best, ids, 0, count)
    for last in range(count - 1, 0, -1):
        best[0], best[last] = best[last], best[0]
        ids[0], ids[last] = ids[last], ids[0]
        sink(best, ids, 0, last)
    return ids


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def missing_similarity(scores: Array, order: Array, offsets: Array, reach: int) -> float:
    """Return the score of the centroid, in descending order, with which the lists come to hold ``reach`` tokens; NaN where those in
    ``order`` hold fewer.
    """
    held = 0
    for c in order:
        held += offsets[c + 1] - offsets[c]
        if held >= reach:
            return float(scores[c])
    return float(np.nan)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def fold(token: Array, weights: Array, bits: int, table: Array) -> None:
    """Write what every value of every packed byte adds to a token's score: one lookup then stands for 8 / bits dimensions.

    Args:
        token: ``float32[dim]``, of the query, padded with zeros to whole bytes.
        weights: ``float32[dim, 2^bits]``, what each bucket of a dimension stands for, padded likewise.
        bits: 1, 2 or 4 a dimension, the first dimension in the lowest bits of a byte.
        table: ``float32[row_bytes, 256]``, overwritten.
    """
    each, mask = 8 // bits, (1 << bits) - 1
    for p in range(len(table)):
        for value in range(256):
            total = np.float32(0.0)
            for place in range(each):
                d = p * each + place
                total += token[d] * weights[d, (value >> (place * bits)) & mask]
            table[p, value] = total


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def inverse_norms(ids: Array, codes: Array, centroids: Array, weights: Array, bits: int, out: Array) -> None:
    """Write 1 / |centroids[id] + weights[d, bucket]| for every code, ``float32[n]``; 1 for a zero vector."""
    each, mask = 8 // bits, (1 << bits) - 1
    for i in range(len(ids)):
        total = 0.0
        for d in range(centroids.shape[1]):
            bucket = (codes[i, d // each] >> ((d % each) * bits)) & mask
            value = np.float64(centroids[ids[i], d]) + np.float64(weights[d, bucket])
            total += value * value
        out[i] = np.float32(1.0 / np.sqrt(total)) if total > 0.0 else np.float32(1.0)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def scan(
    table: Array,
    base: float,
    doc: Array,
    codes: Array,
    inverse: Array,
    best: Array,
    touched: Array,
    count: int,
) -> int:
    """Score one list for one query token, and keep the greatest score of every document: the first reduction.

    Args:
        table: what :func:`fold` wrote, ``float32[row_bytes, 256]``.
        base: the centroid's score.
        doc: ``int32[m]``, the document of every token in the list.
        codes: ``uint8[m, row_bytes + 1]``, packed codes, and a byte for the inverse of the decoded vector's norm.
        inverse: ``float32[256]``, what that byte stands for.
        best: ``float32[N]``, -inf for documents that this query token has not met.
        touched: ``int32[N]``, those that it has. A document is written there once, whatever its scores are, NaN among them: what
            says that it was met is set in the same step.
        count: how many it has.

    Returns:
        how many documents it has met now.
    """
    one, two, three, four = (
        np.uint64(1),
        np.uint64(2),
        np.uint64(3),
        np.uint64(4),
    )  # unsigned: no test for negative places
    flat, raw = table.ravel(), codes.ravel()
    row_bytes, quads = np.uint64(len(table)), len(table) // 4
    for t in range(len(doc)):
        at, place = np.uint64(t) * (row_bytes + one), np.uint64(0)
        end = at + row_bytes
        s0, s1 = np.float32(base), np.float32(0.0)
        s2, s3 = np.float32(0.0), np.float32(0.0)
        for _ in range(quads):
            s0 += flat[place + np.uint64(raw[at])]
            s1 += flat[place + np.uint64(256) + np.uint64(raw[at + one])]
            s2 += flat[place + np.uint64(512) + np.uint64(raw[at + two])]
            s3 += flat[place + np.uint64(768) + np.uint64(raw[at + three])]
            at, place = at + four, place + np.uint64(1024)
        while at < end:
            s0 += flat[place + np.uint64(raw[at])]
            at, place = at + one, place + np.uint64(256)
        score = ((s0 + s1) + (s2 + s3)) * inverse[raw[end]]
        d = np.uint64(doc[t])
        known = best[d]
        if known == -np.inf:
            touched[count] = doc[t]
            count += 1
            known = best[d] = _LEAST
        if score > known:
            best[d] = score
    return count


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def search(
    query: Array,
    scores: Array,
    offsets: Array,
    doc: Array,
    codes: Array,
    weights: Array,
    inverse: Array,
    bits: int,
    nprobe: int,
    wide: int,
    reach: int,
    impute: bool,
    best: Array,
    total: Array,
    hits: Array,
    touched: Array,
    order: Array,
) -> tuple[int, int, int, float]:
    """Retrieve tokens for one query and add up the scores of the documents they belong to: the second reduction.

    Args:
        query: ``float32[n, dim]``.
        scores: ``float32[n, nlist]``, of the centroids.
        offsets: ``int64[nlist + 1]``, of the lists in ``doc`` (``int32[T]``) and ``codes`` (``uint8[T, row_bytes + 1]``).
        weights: ``float32[dim, 2^bits]``.
        inverse: ``float32[256]``.
        nprobe: lists that a query token looks into.
        wide: lists that are put in order, ``nprobe <= wide <= nlist``: as many as usually hold ``reach`` tokens.
        reach: at which number of tokens the missing similarity is read off; at most T.
        impute: whether a query token that met no token of a document counts with its missing similarity; else with 0.
        best: ``float32[N]``, all -inf, and left so.
        total: ``float32[N]``, left with a document's sum, less the missing similarities of all query tokens.
        hits: ``int32[N]``, all 0, left with the number of query tokens that met the document. Whoever reads it sets it back to 0.
        touched: ``int32[N]``, scratch.
        order: ``int32[N]``, left with the documents that were met.

    Returns:
        how many documents were met; how many tokens were scored, for all query tokens; how many distinct ones; the sum of
        the missing similarities.
    """
    width = codes.shape[1] - 1
    table = np.empty((width, 256), np.float32)
    opened = np.zeros(len(offsets) - 1, np.bool_)
    found, scored, distinct, missing = 0, 0, 0, np.float32(0.0)
    for i in range(len(query)):
        lists = leading(scores[i], wide)
        similarity = np.float32(0.0)
        if impute:
            similarity = np.float32(missing_similarity(scores[i], lists, offsets, reach))
            while np.isnan(similarity) and wide < len(scores[i]):  # the first lists are short ones
                wide = min(2 * wide, len(scores[i]))
                lists = leading(scores[i], wide)
                similarity = np.float32(missing_similarity(scores[i], lists, offsets, reach))
        missing += similarity
        fold(query[i], weights, bits, table)
        count = 0
        for c in lists[:nprobe]:
            start, stop = offsets[c], offsets[c + 1]
            scored += stop - start
            if not opened[c]:
                opened[c] = True
                distinct += stop - start
            count = scan(
                table, scores[i, c], doc[start:stop], codes[start:stop], inverse, best, touched, count
            )
        for d in touched[:count]:
            score = best[d]
            best[d] = np.float32(-np.inf)
            if impute and score < similarity:
                score = similarity
            if hits[d] == 0:
                order[found] = d
                found += 1
                total[d] = np.float32(0.0)
            hits[d] += 1
            total[d] += score - similarity
    return found, scored, distinct, float(missing)
