"""Keys and values of documents, kept on the device: for prompts in which a document sees an instruction and itself, nothing else.

Then a document's keys and values depend on the document alone, and a query needs a forward pass over its own tokens only.
The positions are in the keys already: every document starts right behind the instruction. Keys and values stay in the model's
precision. On the CPU a document has a forward pass of its own, so that its companions change no bit of it and kept documents
give the same scores as computed ones; on an accelerator several share a pass, and the kernels' rounding may depend on how many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError, ModelError
from irkit.models.lm.fitting import fitting
from irkit.models.lm.past import Picked, Rows, Whole, token_bytes
from irkit.models.lm.plan import Past
from irkit.models.lm.segments import Segments

if TYPE_CHECKING:
    from torch import Tensor

    from irkit.models.lm.model import CausalLM
else:
    Tensor: TypeAlias = Any

Ints = NDArray[np.int64]
Encode: TypeAlias = Callable[[list[int]], list[Ints]]
"""Returns the tokens of the documents at these places."""


class KeptDocuments:
    """Documents' keys and values within a limit of memory; those that were used longest ago give way, whole.

    A list that needs more than the limit is computed for its query, and nothing of it is kept.

    Attributes:
        size: how many tokens of documents can be kept.
    """

    def __init__(
        self,
        model: CausalLM,
        instruction: Ints,
        *,
        layers: int,
        limit: int = 0,
        budget: int = 1 << 15,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Take the memory, and compute the instruction.

        Args:
            model: whose keys and values are kept.
            instruction: ``int64[L0]``, the tokens that every document sees.
            layers: how many are kept, from the first.
            limit: bytes, of the instruction too; 0 to keep nothing.
            budget: tokens of a forward pass on an accelerator; halved when memory runs out.
            notes: takes the budget that was found to fit.

        Raises:
            ConfigError: when the limit has no room for any document.
            ModelError: when the device has too little memory.
        """
        self._model, self._instruction, self._layers = model, instruction, layers
        self._budget, self._notes = budget, notes
        lead, each = len(instruction), token_bytes(model, layers)
        tokens = limit // each
        if limit and tokens <= lead:
            raise ConfigError.of(
                f"{limit} bytes have no room for any document: the instruction takes {lead * each}, each token {each}",
                where="cache_gb",
                hint="give more, or null to keep nothing",
            )
        self._head = Rows(model, layers, lead)
        segments = Segments.of([(instruction, 0, (0, 0))])
        model.read(segments, keep=self._head.writer(np.arange(lead)), last=layers - 1)
        self._rows: Rows | None = None
        self._free = np.arange(
            tokens - 1, lead - 1, -1, dtype=np.int64
        )  # numbers of free rows, the next one last
        self._room = self.size = len(self._free)
        if limit:
            self._rows = Rows(model, layers, tokens)
            self._rows.values[:, :, :lead] = self._head.values
        self._kept: OrderedDict[Hashable, Ints] = OrderedDict()
        self._buffer: Tensor | None = None

    def __len__(self) -> int:
        """The number of documents that are kept."""
        return len(self._kept)

    def __contains__(self, name: object) -> bool:
        """Whether a document is kept."""
        return name in self._kept

    @property
    def tokens(self) -> int:
        """Tokens of the documents that are kept."""
        return self.size - self._room

    def past(
        self, lists: Sequence[Sequence[Hashable]], encode: Encode, behind: int
    ) -> tuple[Past, list[Ints]]:
        """Return the keys and values of some lists, one behind the other: of each the instruction and its documents, in order.

        What is missing is computed; all is, and nothing of it kept, when the lists need more than the limit.

        Args:
            lists: the names of their documents; equal names are equal documents.
            encode: gives the tokens of those that have to be computed, by their places in all lists together.
            behind: how many tokens will be joined.

        Returns:
            the past, valid until the next call, and for each list ``int64[n]``, the lengths of its documents.

        Raises:
            ModelError: when the device has too little memory.
        """
        names = [name for each in lists for name in each]
        for name in names:
            if name in self._kept:
                self._kept.move_to_end(name)
        places: dict[Hashable, int] = {}
        for place, name in enumerate(names):
            if name not in self._kept:
                places.setdefault(name, place)
        new = dict(zip(places, encode(list(places.values())) if places else [], strict=True))
        needed = sum(len(self._kept[name]) for name in set(names) - new.keys())
        needed += sum(len(ids) for ids in new.values())
        ends = np.cumsum([len(each) for each in lists])[:-1].tolist()
        if self._rows is None or needed > self.size:
            alone = len(new) == len(set(names))
            documents = [new[name] for name in names] if alone else encode(list(range(len(names))))
            return self._computed(_by_list(documents, ends), behind)
        self._keep(self._rows, new, set(names))
        found = _by_list([self._kept[name] for name in names], ends)
        head = np.arange(len(self._instruction))
        which = np.concatenate([part for rows in found for part in (head, *rows)])
        buffer = self._gathering(len(which) + behind)
        return Picked(self._rows, which, behind, buffer), [_lengths(rows) for rows in found]

    def _computed(self, lists: list[list[Ints]], behind: int) -> tuple[Past, list[Ints]]:
        """Compute all documents for one use."""
        lead, lengths = len(self._instruction), [_lengths(documents) for documents in lists]
        total = sum(lead + int(each.sum()) for each in lengths)
        rows, places, at = Rows(self._model, self._layers, total + behind), [], 0
        for each in lengths:
            rows.values[:, :, at : at + lead] = self._head.values
            at += lead
            for length in each.tolist():
                places.append(np.arange(at, at + length))
                at += length
        self._fill(rows, places, [ids for documents in lists for ids in documents])
        return Whole(rows, total), lengths

    def _keep(self, into: Rows, new: dict[Hashable, Ints], needed: set[Hashable]) -> None:
        """Compute documents and keep them, in place of others than those that are needed now."""
        wanted = sum(len(ids) for ids in new.values())
        for name in [each for each in self._kept if each not in needed]:
            if self._room >= wanted:
                break
            self._release(self._kept.pop(name))
        taken = self._free[self._room - wanted : self._room][::-1].copy()
        parts = np.split(taken, np.cumsum(_lengths(list(new.values())))[:-1]) if new else []
        self._fill(into, parts, list(new.values()))
        self._room -= wanted  # only now: after an error the rows are still free
        self._kept.update(zip(new, parts, strict=True))

    def _release(self, rows: Ints) -> None:
        self._free[self._room : self._room + len(rows)] = rows
        self._room += len(rows)

    def _fill(self, into: Rows, rows: list[Ints], documents: list[Ints]) -> None:
        """Compute documents in passes of as many tokens as there may be, and write them."""
        sizes = [len(each) for each in documents]

        def run(start: int, stop: int) -> tuple[()]:
            self._compute(into, np.concatenate(rows[start:stop]), documents[start:stop])
            return ()

        def refuse(alone: int) -> ModelError:
            return ModelError.of(
                f"the device has too little memory for a document of {sizes[alone]} tokens",
                where=self._model.name,
                hint="take a smaller cache_gb or dtype, shorter documents (words), or another device",
            )

        def halved(budget: int, start: int, stop: int) -> None:
            self._budget = budget
            if self._notes is not None:
                failed = sum(sizes[start:stop])
                self._notes["batch_tokens"] = f"{budget}: the device ran out of memory at {failed}"

        list(fitting(sizes, self._budget, run, refuse, share=self._model.device != "cpu", halved=halved))

    def _compute(self, into: Rows, rows: Ints, documents: list[Ints]) -> None:
        lead = len(self._instruction)
        segments = Segments.of([(ids, lead, (0, lead)) for ids in documents], past=lead)
        past = Picked(self._head, np.arange(lead), len(rows), self._gathering(lead + len(rows)))
        self._model.read(segments, past=past, keep=into.writer(rows), last=self._layers - 1)

    def _gathering(self, tokens: int) -> Tensor:
        """Return a buffer for the keys and values of so many tokens; it grows, and is used again and again."""
        import torch

        if self._buffer is None or len(self._buffer) < 2 * tokens:
            self._buffer = None  # before the new one is made
            shape = (2 * (tokens + tokens // 4), *self._head.values.shape[3:])
            self._buffer = torch.empty(shape, dtype=self._head.values.dtype, device=self._model.device)
        return self._buffer


def _by_list(parts: list[Ints], ends: list[int]) -> list[list[Ints]]:
    return [parts[start:stop] for start, stop in zip([0, *ends], [*ends, len(parts)], strict=True)]


def _lengths(parts: Sequence[Ints]) -> Ints:
    return np.array([len(part) for part in parts], np.int64)
