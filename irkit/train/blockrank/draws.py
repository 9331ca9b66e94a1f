"""Which documents a list has, and its tokens: drawn from the seed and the step alone, and made during the step before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from irkit.stages.rerank.blockrank_prompt import Frame, Question
from irkit.train.blockrank.lists import Batch, Blocks, ListTokens
from irkit.train.examples import Examples
from irkit.train.loop import batch_of, total_steps
from irkit.train.recipe import Recipe

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM
    from irkit.train.blockrank.kind import BlockRankTraining

RELEVANT = 4
"""The most relevant documents of a list: of a fifth of its documents the rest would still be told from."""
_SAMPLE = 8
"""Documents on which it is tried whether blocks can be put together."""

Case = Literal["as it is", "upper", "lower"]
_CHANGED: dict[Case, Callable[[str], str]] = {"as it is": str, "upper": str.upper, "lower": str.lower}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A list before it is read.

    Attributes:
        documents: their numbers, in the order of the list.
        relevant: ``bool[n]``.
        teacher: ``float64[n]``, a teacher's scores, nan where there is none.
        ids: under which they are shown.
        query_case: in which the query is read.
        lower: whether documents are read in lower case.
    """

    documents: list[int]
    relevant: NDArray[np.bool_]
    teacher: NDArray[np.float64]
    ids: list[int]
    query_case: Case = "as it is"
    lower: bool = False


class ListMaker:
    """Makes the lists of a training, in a thread of its own: the tokeniser is never called from two."""

    def __init__(self, recipe: Recipe, examples: Examples, model: CausalLM, pin: bool = False) -> None:
        """Tokenise nothing yet.

        Args:
            recipe: with the options of the kind ``blockrank``.
            examples: what is drawn from.
            model: whose tokeniser and template.
            pin: put arrays into pinned memory, from where they are soon on CUDA.
        """
        self._recipe, self._examples, self._model, self._pin = recipe, examples, model, pin
        self._options = options = cast("BlockRankTraining", recipe.options)
        self._free = options.layout == "query-free"
        self._frame = Frame.of(model)
        self._decided = decided = options.decided()
        documents, count = examples.documents, len(examples.documents)
        sample = [i * count // _SAMPLE for i in range(_SAMPLE)] if count else []

        @cache
        def passage(number: int) -> str:
            """Return what is read of a document; of one in lower case by its number + D."""
            text = decided.passage(documents[number % count])
            return text.lower() if number >= count else text

        self._blocks = Blocks(model, passage, sample)
        self._questions: dict[tuple[int, Case], Question] = {}
        self._ahead = ThreadPoolExecutor(1, "irkit-lists")
        self._next: tuple[int, Future[list[Batch]]] | None = None
        self._steps = total_steps(recipe.training, len(examples.training))

    def of_step(self, rows: Sequence[int], step: int) -> list[Batch]:
        """Return the lists of a step, in passes, and have those of the next made meanwhile.

        Raises:
            ModelError: when the model has too few positions for a query.
        """
        expected = self._next[1] if self._next and self._next[0] == step else None
        made = expected or self._ahead.submit(self._passes, rows, step)
        found = made.result()
        self._next = None
        if step + 1 < self._steps:
            following = batch_of(self._recipe, self._examples, step + 1)
            self._next = (step + 1, self._ahead.submit(self._passes, following, step + 1))
        return found

    def held(self, rows: Sequence[int], size: int) -> Iterator[tuple[list[ListTokens], Batch]]:
        """Yield the lists of held-out queries, some at a time: what :meth:`best` gives."""

        def make(some: Sequence[int]) -> list[tuple[list[ListTokens], Batch]]:
            lists = self._lists(some, [self._held(row) for row in some])
            return [(part, self._batch(part)) for part in self._parted(lists)]

        some = [rows[start : start + size] for start in range(0, len(rows), size)]
        if not some:
            return
        following = self._ahead.submit(make, some[0])
        for number in range(1, len(some) + 1):
            made = following.result()
            if number < len(some):
                following = self._ahead.submit(make, some[number])
            yield from made

    def _passes(self, rows: Sequence[int], step: int) -> list[Batch]:
        draws = np.random.Generator(np.random.PCG64([self._recipe.seed, 1, step]))
        drawn = [self._with_case(self._drawn(row, draws), draws) for row in rows]
        return [self._batch(part) for part in self._parted(self._lists(rows, drawn))]

    def _batch(self, lists: Sequence[ListTokens]) -> Batch:
        batch = Batch.of(lists)
        return batch.to(None, pin=True) if self._pin else batch

    def _parted(self, lists: Sequence[ListTokens]) -> Iterator[list[ListTokens]]:
        """Yield lists as they share a pass."""
        part: list[ListTokens] = []
        for each in lists:
            if part and sum(one.size for one in part) + each.size > self._options.batch_tokens:
                yield part
                part = []
            part.append(each)
        yield part

    def _drawn(self, row: int, draws: np.random.Generator) -> Drawn:
        query, size = self._examples.queries[row], self._recipe.training.group
        count = len(query.positives)
        good = draws.permutation(count)[: min(RELEVANT, max(1, size // 5))]
        bad = draws.permutation(len(query.negatives))[: size - len(good)]
        found = [*(query.positives[i] for i in good), *(query.negatives[i] for i in bad)]
        teacher = [] if query.scores is None else [query.scores[i] for i in (*good, *(bad + count))]
        # others like the relevant one: the only document with a title, or without one, would give itself away
        forms = self._examples.forms
        alike, known = (
            np.flatnonzero(forms == forms[query.positives[0]]),
            {*self._examples.relevant[row], *found},
        )
        left = len(np.setdiff1d(alike, list(known))) if len(found) < size else 0
        while len(found) < size and left:
            other = int(alike[draws.integers(len(alike))])
            if other not in known:
                known.add(other)
                found.append(other)
                left -= 1
        return self._shuffled(found, np.arange(len(found)) < len(good), teacher, draws)

    def _with_case(self, drawn: Drawn, draws: np.random.Generator) -> Drawn:
        share = self._options.change_case
        if not share:
            return drawn
        query, documents, upper = draws.random(3)
        case: Case = "as it is" if query >= share else "upper" if upper < 0.5 else "lower"
        return replace(drawn, query_case=case, lower=bool(documents < share))

    def best(self, row: int) -> tuple[list[int], NDArray[np.bool_]]:
        """Return the documents of a query that were ranked best by what mined them, at most ``group``, and which are relevant.

        Where none is, the last one makes room for one that is; and for a negative where all are.
        """
        query, size = self._examples.queries[row], self._recipe.training.group
        count = len(query.positives)
        order = list(range(count, count + len(query.negatives)))
        for place, before in enumerate(query.ahead):
            order.insert(before + place, place)
        order = order[:size]
        if all(place >= count for place in order):
            order = [*order[: size - 1], 0]
        elif query.negatives and all(place < count for place in order):
            order[-1] = count
        documents = (*query.positives, *query.negatives)
        return [documents[place] for place in order], np.array(order) < count

    def _held(self, row: int) -> Drawn:
        draws = np.random.Generator(np.random.PCG64([self._recipe.seed, 2, row]))
        return self._shuffled(*self.best(row), [], draws)

    def _shuffled(
        self,
        documents: list[int],
        relevant: NDArray[np.bool_],
        scores: list[float],
        draws: np.random.Generator,
    ) -> Drawn:
        order = draws.permutation(len(documents))
        teacher = np.full(len(documents), np.nan)
        teacher[: len(scores)] = scores
        shown = [documents[i] for i in order]
        return Drawn(shown, relevant[order], teacher[order], self._ids(shown, draws))

    def _ids(self, documents: Sequence[int], draws: np.random.Generator) -> list[int]:
        """Return the IDs of a list's documents: drawn for every list where the layout is query-free. If a document kept its own, it
        could be remembered as that of a relevant one.
        """
        if not self._free:
            return list(range(len(documents)))
        found: list[int] = draws.choice(len(self._examples.documents), len(documents), replace=False).tolist()
        return found

    def _lists(self, rows: Sequence[int], drawn: Sequence[Drawn]) -> list[ListTokens]:
        """Tokenise what has not been, and put lists together."""
        count = len(self._examples.documents)
        numbers = [[number + count * each.lower for number in each.documents] for each in drawn]
        self._blocks.read([n for own in numbers for n in own], [n for each in drawn for n in each.ids])
        return [
            ListTokens(
                (question := self._question(row, each.query_case)),
                self._blocks.of(own, each.ids, question),
                each.relevant,
                each.teacher,
            )
            for row, own, each in zip(rows, numbers, drawn, strict=True)
        ]

    def _question(self, row: int, case: Case) -> Question:
        if (row, case) not in self._questions:
            asked = _CHANGED[case](self._examples.queries[row].text)
            self._questions[row, case] = self._decided.question(asked, asked, self._model, self._frame)
        return self._questions[row, case]
