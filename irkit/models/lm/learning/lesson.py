"""What one forward pass is to do: packed lists, who sees whom, and what is read; worked out once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lesson:
    """B prompts of T tokens in S segments; arrays, until :meth:`to` moves them to a device.

    Attributes:
        segments: the prompts, one behind the other.
        ids: ``int64[T]``.
        positions: ``int64[T]``.
        bounds: ``int32[S + 1]``, of the segments' own tokens.
        gathered: ``int64[G]``, the tokens that the segments see, segment by segment, each segment's own at its end.
        seen_bounds: ``int32[S + 1]``, of these.
        starts: ``int32[T + 1]``, and
        places: ``int32[G]``: where among the gathered each token is, token by token.
        most: the greatest number of own tokens of a segment, and of tokens that one sees.
        reach: how far back in positions a token sees.
        looking: ``int64[B, r]``, the tokens that are read; T where a prompt has fewer than r.
        documents: ``int64[D]``, the documents' tokens.
        padded: ``int64[B, K]``: which of the D are a prompt's; D where it has fewer than K.
        unpadded: ``int64[D]``: where in ``padded`` each is.
        not_documents: ``int64[T]``: which of the D a token is; D for none.
        not_looking: ``int64[T]``: which of the B r that are read a token is; their number for none.
    """

    segments: Segments
    ids: Any
    positions: Any
    bounds: Any
    gathered: Any
    seen_bounds: Any
    starts: Any
    places: Any
    most: tuple[int, int]
    reach: int
    looking: Any
    documents: Any
    padded: Any
    unpadded: Any
    not_documents: Any
    not_looking: Any

    @classmethod
    def of(cls, segments: Segments, reads: Sequence[Read]) -> Lesson:
        """Work it out.

        Raises:
            ValueError: for a read over all that is visible, and for a prompt that is not whole.
        """
        if any(read.over != "documents" for read in reads):
            raise ValueError("only the softmax over the documents is learned")
        if segments.past:
            raise ValueError("every prompt must be whole")
        own = np.stack([segments.bounds[:-1], segments.bounds[1:]], 1)
        both = np.stack([segments.context, own], 1).reshape(-1, 2)  # what a segment sees, then itself
        gathered = ranges(both)
        sizes, seen = np.diff(own, axis=1)[:, 0], np.diff(segments.context, axis=1)[:, 0]
        counts = np.bincount(gathered, minlength=len(segments.ids))
        spans = np.array([read.documents for read in reads], np.int64)
        lengths = np.diff(spans, axis=1)[:, 0]
        inside = np.arange(lengths.max()) < lengths[:, None]
        before = np.cumsum(lengths) - lengths
        rows = np.array([read.rows for read in reads], np.int64)
        look = rows[:, :1] + np.arange(np.diff(rows).max())
        first = np.minimum.reduceat(segments.positions, segments.bounds[:-1])
        last = np.maximum.reduceat(segments.positions, segments.bounds[:-1])
        seen_first = np.array(
            [
                segments.positions[a:b].min() if b > a else p
                for (a, b), p in zip(segments.context, first, strict=True)
            ]
        )
        looking, documents = np.where(look < rows[:, 1:], look, len(segments.ids)), ranges(spans)
        return cls(
            segments,
            segments.ids,
            segments.positions,
            segments.bounds.astype(np.int32),
            gathered,
            _bounds(sizes + seen),
            _bounds(counts),
            np.argsort(gathered, kind="stable").astype(np.int32),
            (int(sizes.max()), int((sizes + seen).max())),
            int((last - np.minimum(first, seen_first)).max()),
            looking,
            documents,
            np.where(inside, before[:, None] + np.arange(lengths.max()), lengths.sum()),
            np.flatnonzero(inside),
            inverse(documents, len(segments.ids)),
            inverse(looking.ravel(), len(segments.ids)),
        )

    def to(self, device: Any, pin: bool = False) -> Lesson:
        """Return the lesson with tensors on a device; or in pinned memory, from where they are soon there."""
        import torch

        def put(each: Any) -> Any:
            there = torch.from_numpy(np.ascontiguousarray(each)) if isinstance(each, np.ndarray) else each
            return there.pin_memory() if pin else there.to(device, non_blocking=True)

        return replace(self, **{name: put(getattr(self, name)) for name in _ARRAYS})

    @cached_property
    def parts(self) -> list[Part]:
        """All segments, in groups of like size."""
        return _parts(self.segments, self.ids.device)


_ARRAYS = (
    "ids", "positions", "bounds", "gathered", "seen_bounds", "starts", "places", "looking", "documents", "padded",
    "unpadded", "not_documents", "not_looking",
)  # fmt: skip


def ranges(spans: Ints) -> Ints:
    """Return the whole numbers of ``[first, last)`` spans, one span behind the other."""
    sizes = spans[:, 1] - spans[:, 0]
    ends = np.cumsum(sizes)
    return np.repeat(spans[:, 0] - ends + sizes, sizes) + np.arange(ends[-1])


def inverse(rows: Ints, size: int) -> Ints:
    """Return ``int64[size]``: where each number stands in ``rows``, which are distinct but for ``size``; their number where it does
    not.
    """
    found = np.full(size + 1, len(rows), np.int64)
    found[rows] = np.arange(len(rows))
    return found[:size]


def _bounds(sizes: Ints) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


@dataclass(frozen=True)
class Part:
    """Some segments of like size, padded: their rows ``int64[S, R]``, what they see ``int64[S, K]``, which row sees what
    ``bool[S, R, K]``, and which of the ``S R`` rows are real ``int64[n]``."""

    rows: Tensor
    seen: Tensor
    mask: Tensor
    own: Tensor


def _parts(segments: Segments, device: Any) -> list[Part]:
    import torch

    groups: dict[tuple[int, int], list[int]] = {}
    for which in range(len(segments)):
        (start, stop), (first, last) = segments.own(which), segments.seen(which)
        size = ((stop - start).bit_length(), (stop - start + last - first).bit_length())
        groups.setdefault(size, []).append(which)
    parts = []
    for alike in groups.values():
        own = [np.arange(*segments.own(which)) for which in alike]
        context = [np.arange(*segments.seen(which)) for which in alike]
        rows, real = _padded(own)
        seen, there = _padded([np.concatenate(both) for both in zip(context, own, strict=True)])
        mask = there[:, None, :] & (seen[:, None, :] <= rows[:, :, None])  # a context precedes its segment
        put = [torch.from_numpy(each).to(device) for each in (rows, seen, mask, np.flatnonzero(real))]
        parts.append(Part(*put))
    return parts


def _padded(lists: Sequence[Ints]) -> tuple[Ints, NDArray[np.bool_]]:
    """Return lists of token numbers as rows of one matrix, the first of a list where it has no more, and which are its own."""
    most = max(map(len, lists))
    there = np.arange(most) < np.array([len(each) for each in lists])[:, None]
    rows = np.stack([np.concatenate([each, np.repeat(each[:1], most - len(each))]) for each in lists])
    return rows, there
