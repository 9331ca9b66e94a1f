"""Packed sequences: prompts cut into segments, each of which sees itself and one stretch of what was there before.

One form says all that the attention rerankers need. An in-context prompt is a long segment (template and documents) and short
ones that see all of it: the query, and the query "N/A" that calibrates, so that both passes share one forward pass.
A BlockRank prompt is an instruction, documents that see the instruction and themselves alone, and a query that sees everything.
Several prompts lie one behind the other, and see nothing of each other; no token is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segments:
    """T tokens in S segments, behind P tokens whose keys and values are already there (:class:`irkit.models.lm.attention.Past`).

    Tokens are numbered from the first that is there already, so the first of these tokens has the number P. A token sees the
    stretch ``context[s]`` of its segment s, and within the segment itself and what precedes it.

    Attributes:
        ids: ``int64[T]``, of the tokens.
        positions: ``int64[T]``, for the position embeddings; they need not ascend from segment to segment.
        bounds: ``int64[S + 1]``, from P to P + T; segment s owns the tokens ``bounds[s]:bounds[s + 1]``.
        context: ``int64[S, 2]``, first and last + 1 of the tokens that a whole segment sees; they precede it.
        past: P.
    """

    ids: Ints
    positions: Ints
    bounds: Ints
    context: Ints
    past: int = 0

    def __post_init__(self) -> None:
        """Check the shapes and that nothing is seen before it is there.

        Raises:
            ValueError: naming what is wrong.
        """
        count, size = len(self.bounds) - 1, len(self.ids)
        if self.positions.shape != (size,) or self.context.shape != (count, 2):
            raise ValueError(
                f"shapes: ids {self.ids.shape}, positions {self.positions.shape}, context {self.context.shape}"
            )
        if (
            self.bounds[0] != self.past
            or self.bounds[-1] != self.past + size
            or np.any(np.diff(self.bounds) <= 0)
        ):
            raise ValueError(f"bounds of {size} tokens behind {self.past}: {self.bounds.tolist()}")
        first, last = self.context.T
        if np.any(first < 0) or np.any(first > last) or np.any(last > self.bounds[:-1]):
            raise ValueError("a segment sees tokens that do not precede it")

    def __len__(self) -> int:
        """The number of segments."""
        return len(self.context)

    def own(self, which: int) -> tuple[int, int]:
        """Return the first and the last + 1 of a segment's tokens."""
        return int(self.bounds[which]), int(self.bounds[which + 1])

    def seen(self, which: int) -> tuple[int, int]:
        """Return the first and the last + 1 of the tokens before it that a segment sees."""
        return int(self.context[which, 0]), int(self.context[which, 1])

    def holding(self, token: int) -> int:
        """Return the segment of a token."""
        return int(self.bounds.searchsorted(token, "right")) - 1

    @classmethod
    def of(
        cls, parts: Sequence[tuple[Sequence[int] | Ints, int, tuple[int, int]]], past: int = 0
    ) -> Segments:
        """Make segments of (token ids, position of the first, context); positions go up by one within a segment."""
        ids = [np.asarray(tokens, np.int64) for tokens, _, _ in parts]
        lengths = [len(tokens) for tokens in ids]
        positions = [start + np.arange(length) for (_, start, _), length in zip(parts, lengths, strict=True)]
        return cls(
            np.concatenate(ids),
            np.concatenate(positions).astype(np.int64),
            past + np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.array([context for _, _, context in parts], np.int64).reshape(-1, 2),
            past,
        )

    @classmethod
    def pack(cls, prompts: Sequence[Segments]) -> tuple[Segments, list[int]]:
        """Lay prompts one behind the other; return them, and how far each one's token numbers moved.

        Raises:
            ValueError: when a prompt continues tokens that are already there.
        """
        if any(prompt.past for prompt in prompts):
            raise ValueError("a prompt that continues others cannot be packed")
        sizes = [len(prompt.ids) for prompt in prompts]
        moved = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
        bounds = [prompt.bounds[:-1] + at for prompt, at in zip(prompts, moved[:-1], strict=True)]
        packed = cls(
            np.concatenate([prompt.ids for prompt in prompts]),
            np.concatenate([prompt.positions for prompt in prompts]),
            np.concatenate([*bounds, [moved[-1]]]).astype(np.int64),
            np.concatenate([prompt.context + at for prompt, at in zip(prompts, moved[:-1], strict=True)]),
        )
        return packed, moved[:-1]


@dataclass(frozen=True)
class Read:
    """Which attention is wanted: how much some query tokens look at some document tokens.

    Attributes:
        rows: first and last + 1 of the query tokens, all of one segment.
        documents: first and last + 1 of the document tokens, which all of the rows see whole: inside their segment's context.
        over: the softmax of a row is taken over all tokens that it sees ("visible"), as the model does it, or over the
            document tokens alone ("documents"), as BlockRank does it.
    """

    rows: tuple[int, int]
    documents: tuple[int, int]
    over: str = "visible"

    def moved(self, by: int) -> Read:
        """Return the same of a prompt that was packed behind so many tokens."""
        return Read(
            (self.rows[0] + by, self.rows[1] + by),
            (self.documents[0] + by, self.documents[1] + by),
            self.over,
        )
