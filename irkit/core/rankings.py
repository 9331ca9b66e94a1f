"""Rankings: the results of many queries as three arrays.

A document is its **code**: the position of its docno in the bytewise order of all docnos of the collection.
trec_eval breaks ties by docno, descending; so in irkit a tie is broken by code, descending, and no string is
touched between a collection and a run file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray: TypeAlias = NDArray[np.int64]
CodeArray: TypeAlias = NDArray[np.int32]
ScoreArray: TypeAlias = NDArray[np.float32]
U = TypeVar("U", np.uint32, np.uint64)

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def _pack(doc: CodeArray, score: ScoreArray) -> NDArray[np.uint64]:
    """Return keys whose ascending order is (score descending, code descending): one integer sort replaces a
    two-key sort.

    A float32's bits, read as an integer, already order the non-negative floats; flipping all bits of the
    negative ones and the sign bit of the others orders them all. The complement makes the order descending.
    ``+ 0.0`` turns -0.0 into 0.0.
    """
    bits = (score + np.float32(0.0)).view(np.uint32)
    ascending = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(0x80000000))
    return ((~ascending).astype(np.uint64) << _SHIFT) | (~doc.view(np.uint32)).astype(np.uint64)


def _unpack(keys: NDArray[np.uint64]) -> tuple[CodeArray, ScoreArray]:
    doc = (~(keys & _LOW).astype(np.uint32)).view(np.int32)
    ascending = ~(keys >> _SHIFT).astype(np.uint32)
    bits = np.where(ascending >> 31 == 1, ascending & np.uint32(0x7FFFFFFF), ~ascending)
    return doc, bits.view(np.float32)


def offsets_of(lengths: ArrayLike) -> IntArray:
    """Return the offsets ``int64[len(lengths) + 1]`` of consecutive segments of the given lengths."""
    sizes = np.asarray(lengths, dtype=np.int64)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


class HitError(ValueError):
    """One hit cannot be part of rankings.

    Attributes:
        query: the number of its query.
        of: of how many queries.
        doc: the document's code.
        score: its score, None when the score is not what is wrong.
    """

    def __init__(self, message: str, query: int, of: int, doc: int, score: float | None = None) -> None:
        super().__init__(f"query number {query}{message}")
        self.query, self.of, self.doc, self.score = query, of, doc, score


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The ranked documents of Q queries.

    Attributes:
        offsets: ``int64[Q + 1]``; query ``q`` owns the hits ``offsets[q]:offsets[q + 1]``.
        doc: ``int32[n]``, document codes; no document appears twice in one query.
        score: ``float32[n]``, finite; within a query sorted by (score descending, code descending). Rank is
            implicit.
    """

    offsets: IntArray
    doc: CodeArray
    score: ScoreArray

    @classmethod
    def build(cls, offsets: ArrayLike, doc: ArrayLike, score: ArrayLike) -> Rankings:
        """Make rankings from hits grouped by query, in any order within a query.

        Raises:
            HitError: for a score that is not finite, or a document twice in one query.
            ValueError: for lengths that do not fit together, or a negative code.
        """
        starts = np.ascontiguousarray(offsets, dtype=np.int64)
        codes = _codes(doc)
        with np.errstate(over="ignore"):  # a score beyond float32 becomes infinite, and is refused below
            scores = np.ascontiguousarray(score, dtype=np.float32)
        n = len(codes)
        if (
            len(scores) != n
            or len(starts) == 0
            or starts[0] != 0
            or starts[-1] != n
            or (np.diff(starts) < 0).any()
        ):
            raise ValueError(f"offsets, doc ({n}) and score ({len(scores)}) do not fit together")
        finite = np.isfinite(scores)
        if not finite.all():
            at = int(np.argmin(finite))
            query = int(np.searchsorted(starts, at, side="right")) - 1
            message = f": the score of document code {codes[at]} is {scores[at]}"
            raise HitError(message, query, len(starts) - 1, int(codes[at]), float(scores[at]))
        _refuse_duplicates(starts, codes)
        return cls.sort(starts, codes, scores)

    @classmethod
    def sort(cls, offsets: IntArray, doc: CodeArray, score: ScoreArray) -> Rankings:
        """Make rankings from hits that are known to be sound: no check, only the canonical order."""
        return cls(offsets, *_unpack(sort_segments(_pack(doc, score), offsets)))

    @classmethod
    def from_lists(cls, docs: Sequence[ArrayLike], scores: Sequence[ArrayLike]) -> Rankings:
        """Make rankings from one array of codes and one of scores per query."""
        codes = [_codes(d) for d in docs]
        with np.errstate(over="ignore"):
            values = [np.asarray(s, dtype=np.float32) for s in scores]
        lengths = [len(d) for d in codes]
        if lengths != [len(v) for v in values]:
            raise ValueError("there must be as many scores as documents for every query")
        if not codes:
            return cls.empty(0)
        return cls.build(offsets_of(lengths), np.concatenate(codes), np.concatenate(values))

    @classmethod
    def empty(cls, n_queries: int) -> Rankings:
        """Make rankings of ``n_queries`` queries without any hit."""
        return cls(np.zeros(n_queries + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    @classmethod
    def concat(cls, parts: Sequence[Rankings]) -> Rankings:
        """Put the queries of several rankings one after the other."""
        if not parts:
            return cls.empty(0)
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            offsets_of(lengths),
            np.concatenate([p.doc for p in parts]),
            np.concatenate([p.score for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rankings):
            return NotImplemented
        return (
            np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.doc, other.doc)
            and np.array_equal(self.score, other.score)
        )

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[CodeArray, ScoreArray]]:
        for query in range(len(self)):
            yield self[query]

    def __getitem__(self, query: int) -> tuple[CodeArray, ScoreArray]:
        if not 0 <= query < len(self):
            raise IndexError(f"query number {query} is not in 0..{len(self) - 1}")
        start, stop = self.offsets[query], self.offsets[query + 1]
        return self.doc[start:stop], self.score[start:stop]

    @property
    def lengths(self) -> IntArray:
        """The number of hits of each query, ``int64[Q]``."""
        return np.diff(self.offsets)

    @property
    def query(self) -> IntArray:
        """The query number of each hit, ``int64[n]``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def rank(self) -> IntArray:
        """The rank of each hit within its query, from 0, ``int64[n]``."""
        return np.arange(len(self.doc)) - np.repeat(self.offsets[:-1], self.lengths)

    def top(self, k: int) -> Rankings:
        """Keep the first ``k`` hits of every query."""
        if len(self) == 0 or self.lengths.max() <= k:
            return self
        return self.where(self.rank < k)

    def where(self, keep: NDArray[np.bool_]) -> Rankings:
        """Keep the hits for which ``keep`` (``bool[n]``) is true, in their order."""
        counts = np.concatenate([[0], np.cumsum(keep)])[self.offsets]
        return Rankings(counts.astype(np.int64), self.doc[keep], self.score[keep])

    def slice(self, start: int, stop: int) -> Rankings:
        """Return the rankings of the queries ``start:stop``. Nothing is copied."""
        offsets = self.offsets[start : stop + 1]
        hits = slice(offsets[0], offsets[-1])
        return Rankings(offsets - offsets[0], self.doc[hits], self.score[hits])

    def take(self, queries: ArrayLike) -> Rankings:
        """Return the rankings of the queries with these numbers, in the order given."""
        rows = row_numbers(queries, len(self))
        lengths = self.lengths[rows]
        offsets = offsets_of(lengths)
        hits = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Rankings(offsets, self.doc[hits], self.score[hits])

    def without(self, excluded: Sequence[CodeArray]) -> Rankings:
        """Drop the documents that each query excludes (one array of codes a query)."""
        if len(excluded) not in (0, len(self)):
            raise ValueError(f"{len(excluded)} exclusion lists do not fit {len(self)} queries")
        keep = np.ones(len(self.doc), dtype=np.bool_)
        for query, codes in enumerate(excluded):
            if len(codes):
                start, stop = self.offsets[query], self.offsets[query + 1]
                keep[start:stop] = ~np.isin(self.doc[start:stop], codes)
        return self if keep.all() else self.where(keep)

    def with_scores(self, score: ArrayLike) -> Rankings:
        """Give every hit a new score (``float32[n]``, aligned with ``doc``) and sort again."""
        return Rankings.build(self.offsets, self.doc, score)


def row_numbers(rows: ArrayLike, n: int) -> IntArray:
    """Return the numbers of chosen rows as ``int64``; a mask or a number outside ``0..n - 1`` is an error,
    never another row.

    Raises:
        ValueError: for a mask.
        IndexError: for a number outside.
    """
    numbers = np.asarray(rows)
    if numbers.dtype == np.bool_:
        raise ValueError(
            "rows are chosen by number, not by a mask (np.flatnonzero turns a mask into numbers)"
        )
    numbers = numbers.astype(np.int64)
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < n):
        raise IndexError(f"a row number is not in 0..{n - 1}")
    return numbers


def sort_segments(values: NDArray[U], offsets: IntArray) -> NDArray[U]:
    """Return unsigned integers with each segment ``offsets[i]:offsets[i + 1]`` sorted, ascending.

    The segments become the rows of one matrix, because numpy sorts many rows in one call. Where they differ
    so much in length that padding would more than double the work, they are sorted one by one.
    """
    lengths = np.diff(offsets)
    longest = int(lengths.max(initial=0))
    if longest * len(lengths) == len(values):
        return np.sort(values.reshape(len(lengths), longest), axis=1).ravel()
    if longest * len(lengths) <= 2 * len(values):
        inside = np.arange(longest) < lengths[:, None]
        matrix = np.full((len(lengths), longest), np.iinfo(values.dtype).max, dtype=values.dtype)
        matrix[inside] = values
        matrix.sort(axis=1)
        return matrix[inside]
    values = values.copy()
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        values[start:stop].sort()
    return values


def _codes(doc: ArrayLike) -> CodeArray:
    codes = np.asarray(doc)
    if codes.dtype == np.int32 or codes.size == 0:
        codes = np.ascontiguousarray(codes, dtype=np.int32)
    elif codes.dtype.kind not in "iu":
        raise ValueError(f"document codes are integers, not {codes.dtype}")
    elif codes.max() > np.iinfo(np.int32).max:
        raise ValueError(f"document code {codes.max()} does not fit int32")
    if codes.size and codes.min() < 0:
        raise ValueError(f"document code {codes.min()} is negative")
    return np.ascontiguousarray(codes, dtype=np.int32)


def _refuse_duplicates(offsets: IntArray, doc: CodeArray) -> None:
    ordered = sort_segments(doc.view(np.uint32), offsets)
    same = ordered[1:] == ordered[:-1]
    same[offsets[(offsets > 0) & (offsets < len(doc))] - 1] = False  # neighbours of two queries
    if same.any():
        at = int(np.argmax(same))
        query = int(np.searchsorted(offsets, at, side="right")) - 1
        message = f" has document code {ordered[at]} more than once"
        raise HitError(message, query, len(offsets) - 1, int(ordered[at]))
