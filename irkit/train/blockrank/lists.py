"""Lists of documents as token arrays: every document is tokenised once, and lists are put together in numpy.

A list is the prompt of the stage ``blockrank``, with the same tokens. A document's block is "ID: 3 | CONTENT: ... | END ID: 3":
what stands around the content depends on the ID, and is worked out once for every ID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.models.lm.learning.lesson import Lesson
from irkit.models.lm.segments import Read, Segments
from irkit.stages.rerank.blockrank_prompt import LEAST, Ints, Question, document, encode_documents

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

_PROBES = ("a", "Zebra", "7", "(x)", "é", "日", '"', "-", "The first.", "😀")
"""Contents that no two characters begin or end alike in."""
_IDS = (3, 127)
"""That are tried."""


class Blocks:
    """The blocks of documents, by their number and their ID."""

    def __init__(self, model: CausalLM, texts: Callable[[int], str], sample: Sequence[int]) -> None:
        """Tokenise nothing yet.

        Args:
            model: whose tokeniser.
            texts: what is read of a document.
            sample: some documents, on which it is tried whether blocks can be put together.
        """
        self._model, self._texts, self._sample = model, texts, sample
        self._joins: bool | None = None
        self._around: dict[int, tuple[Ints, Ints]] = {}
        self._inside: dict[int, NDArray[np.int32] | None] = {}
        self._whole: dict[tuple[int, int], Ints] = {}

    def of(self, numbers: Sequence[int], labels: Sequence[int], question: Question) -> list[Ints]:
        """Return the blocks of documents that were read, each cut to the question's limit: those of
        :func:`irkit.stages.rerank.blockrank_prompt.encode_documents`.

        Raises:
            ModelError: when too little of a document would be left.
        """
        return [self._block(number, label, question) for number, label in zip(numbers, labels, strict=True)]

    def read(self, numbers: Sequence[int], labels: Sequence[int]) -> None:
        """Tokenise, of some documents and their IDs, what has not been; blocks that cannot be put together, for this time."""
        if self._joins is None:
            self._joins = self._can_join()
        pairs = dict.fromkeys(zip(numbers, labels, strict=True))
        if self._joins:
            self._learn(labels)
            missing = {number: label for number, label in pairs if number not in self._inside}
            for (number, label), block in zip(missing.items(), self._encode(missing.items()), strict=True):
                self._inside[number] = self._content(label, block)
            pairs = {(number, label): None for number, label in pairs if self._inside[number] is None}
        self._whole = dict(zip(pairs, self._encode(pairs), strict=True))

    def _block(self, number: int, label: int, question: Question) -> Ints:
        inside = self._inside.get(number)
        if inside is None:
            whole = self._whole[number, label]
            if len(whole) <= question.limit:
                return whole
            return self._shortened(number, label, question)
        before, behind = self._around[label]
        left = question.limit - len(before) - len(behind)
        if (
            left < len(inside) and left <= LEAST + 1
        ):  # a token of nothing but the blank before the content is none of it
            return self._shortened(number, label, question)
        return np.concatenate([before, inside[: max(left, 0)], behind])

    def _shortened(self, number: int, label: int, question: Question) -> Ints:
        return encode_documents(self._model, [label], [self._texts(number)], question)[0][0]

    def _encode(self, pairs: Iterable[tuple[int, int]]) -> list[Ints]:
        return self._model.encode([document(label, self._texts(number)) for number, label in pairs])

    def _learn(self, labels: Iterable[int]) -> None:
        """Work out what stands before and behind every content, of the IDs that are new."""
        new = [label for label in dict.fromkeys(labels) if label not in self._around]
        encoded = self._model.encode([document(label, probe) for label in new for probe in _PROBES])
        for place, label in enumerate(new):
            blocks = [each.tolist() for each in encoded[place * len(_PROBES) :][: len(_PROBES)]]
            before, behind = _common(blocks), _common([each[::-1] for each in blocks])[::-1]
            self._around[label] = np.array(before, np.int64), np.array(behind, np.int64)

    def _content(self, label: int, block: Ints) -> NDArray[np.int32] | None:
        """Return a block's tokens between these; None for one that has other tokens around its content."""
        before, behind = self._around[label]
        end = len(block) - len(behind)
        if end < len(before) or not (
            np.array_equal(block[: len(before)], before) and np.array_equal(block[end:], behind)
        ):
            return None
        return block[len(before) : end].astype(np.int32)

    def _can_join(self) -> bool:
        """Whether the documents of the sample have the same content with two IDs.

        A tokeniser that cuts texts into words before it looks for tokens, as all byte-level ones do, gives every document the same:
        on both sides of the content a word begins. The sample is for those that do not.
        """
        found = []
        self._learn(_IDS)
        for label in _IDS:
            blocks = self._encode([(number, label) for number in self._sample])
            found.append([self._content(label, block) for block in blocks])
        return all(
            one is not None and other is not None and np.array_equal(one, other)
            for one, other in zip(*found, strict=True)
        )


def _common(lists: Sequence[list[int]]) -> list[int]:
    """Return what all lists begin with."""
    return [each[0] for each in takewhile(lambda each: len(set(each)) == 1, zip(*lists, strict=False))]


@dataclass(frozen=True, eq=False)
class ListTokens:
    """A query with its documents, as the model reads them.

    Attributes:
        question: what the query adds.
        blocks: of the documents.
        relevant: ``bool[n]``.
        teacher: ``float64[n]``, a teacher's scores, nan where there is none.
    """

    question: Question
    blocks: list[Ints]
    relevant: NDArray[np.bool_]
    teacher: NDArray[np.float64]

    @property
    def size(self) -> int:
        """How many tokens it has."""
        return len(self.question.first) + sum(map(len, self.blocks)) + len(self.question.last)


@dataclass(frozen=True, eq=False)
class Batch:
    """Lists of one pass.

    Attributes:
        lesson: what the model is to do.
        owner: ``int64[B, K]``, whose each document token is: a place in the list; D where there is no token.
        there: ``bool[B, D]``.
        relevant: ``bool[B, D]``.
        teacher: ``float64[B, D]``, nan where there is no score.
    """

    lesson: Lesson
    owner: Any
    there: Any
    relevant: Any
    teacher: Any

    @classmethod
    def of(cls, lists: Sequence[ListTokens]) -> Batch:
        """Pack lists."""
        sizes = [np.array([len(block) for block in each.blocks]) for each in lists]
        most = max(map(len, sizes))
        longest = max(int(each.sum()) for each in sizes)
        owner = np.full((len(lists), longest), most, np.int64)
        there, relevant = (np.zeros((len(lists), most), np.bool_) for _ in range(2))
        teacher = np.full((len(lists), most), np.nan)
        for number, (each, own) in enumerate(zip(lists, sizes, strict=True)):
            owner[number, : own.sum()] = np.repeat(np.arange(len(own)), own)
            there[number, : len(own)] = True
            relevant[number, : len(own)] = each.relevant
            teacher[number, : len(own)] = each.teacher
        return cls(Lesson.of(*packed(lists, sizes)), owner, there, relevant, teacher)

    def to(self, device: Any, pin: bool = False) -> Batch:
        """Return it with tensors on a device; or in pinned memory."""
        import torch

        def put(each: Any) -> Any:
            found = torch.from_numpy(each) if isinstance(each, np.ndarray) else each
            return found.pin_memory() if pin else found.to(device, non_blocking=True)

        rest = (self.owner, self.there, self.relevant, self.teacher)
        return Batch(self.lesson.to(device, pin), *map(put, rest))


def packed(lists: Sequence[ListTokens], sizes: Sequence[Ints]) -> tuple[Segments, list[Read]]:
    """Return lists one behind the other, and the reads of their signal tokens: :meth:`Question.prompt` of each, packed.

    Args:
        lists: any.
        sizes: the lengths of their documents' blocks.
    """
    parts: list[Ints] = []
    lengths, starts, context, reads, at = [], [], [], [], 0
    for each, own in zip(lists, sizes, strict=True):
        asked, lead, count = each.question, len(each.question.first), len(own)
        last = at + lead + int(own.sum())
        parts += [asked.first, *each.blocks, asked.last]
        lengths.append(np.concatenate([[lead], own, [len(asked.last)]]))
        starts.append(np.concatenate([[0], np.full(count, lead), [asked.begins(own)]]))
        context.append(np.concatenate([[[at, at]], np.full((count, 2), (at, at + lead)), [[at, last]]]))
        reads.append(asked.reads(last, (at + lead, last)))
        at = last + len(asked.last)
    length = np.concatenate(lengths).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    positions = np.arange(at) + np.repeat(np.concatenate(starts) - bounds[:-1], length)
    ids = np.concatenate(parts).astype(np.int64, copy=False)
    return Segments(ids, positions.astype(np.int64), bounds, np.concatenate(context).astype(np.int64)), reads
