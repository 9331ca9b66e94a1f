"""What the training loop asks of what is trained, and the bi-encoders' common part: InfoNCE with in-batch and mined negatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.pipeline.context import Advance, Progress, Silent
from irkit.train.candidates import Candidates

if TYPE_CHECKING:
    import torch

    from irkit.train.bi_encoder import BiEncoderOptions
    from irkit.train.examples import Examples
    from irkit.train.recipe import Recipe, Training


Stored = Callable[["BiEncoderOptions"], "NDArray[np.float32] | None"]
"""Given an encoder's options, the vectors of all documents of the examples, ``float32[n, dim]``; None where some are missing."""


@dataclass(frozen=True)
class Surroundings:
    """Where training takes place.

    Attributes:
        device: a torch device.
        base: the folder that relative paths start from.
        scratch: a folder for intermediate files, kept until training is over; a resumed run finds them there.
        threads: CPU threads.
        model: where the model's files are, when not where the recipe says: on a machine that has them in another place.
        progress: shows what is being done.
        stored: finds documents' vectors that were encoded before.
    """

    device: str
    base: Path
    scratch: Path
    threads: int = 1
    model: str | None = None
    progress: Progress = field(default_factory=Silent)
    stored: Stored | None = None


class Learner(ABC):
    """What is trained. The loop knows nothing else of it, so other objectives need no other loop.

    Attributes:
        weights: what is trained, by name; a learner of a whole module has its own :meth:`state` and :meth:`load` instead.
        looked: set by the loop; told by a slow :meth:`validate` how many more held-out queries it has ranked.
        keeps_last: whether the weights of the last step are what is kept, and not those that were best on the held-out queries:
            where their labels are not what is learnt.
    """

    weights: Mapping[str, torch.Tensor]
    looked: Advance = staticmethod(lambda n, /: None)
    keeps_last: bool = False

    @abstractmethod
    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups, each with ``params``, ``lr`` and ``weight_decay``; always in one order."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return the trained weights by name."""
        return {name: each.detach() for name, each in self.weights.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take weights that :meth:`state` gave."""
        for name, each in self.weights.items():
            each.data.copy_(state[name])

    @abstractmethod
    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return the loss of a batch.

        Args:
            rows: the numbers of its queries.
            step: of training; whatever is drawn is drawn from the seed and this number alone, so that a resumed run draws the same.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return the scores on the held-out queries, by task; higher is better."""

    @abstractmethod
    def save(self, folder: Path, name: str, trained: Mapping[str, Any]) -> None:
        """Write what was trained, ready to be used.

        Args:
            folder: exists, and is empty.
            name: the path that it will have in the end, as an experiment names it.
            trained: on what and how, to be written down: JSON values.
        """

    @abstractmethod
    def usage(self, name: str) -> str:
        """Return the steps of a pipeline that use what was trained, as YAML; ``name`` is its folder."""

    @property
    @abstractmethod
    def against(self) -> str:
        """What :meth:`validate` ranks the held-out queries against, in words."""

    def chance(self) -> dict[str, float]:
        """Return what :meth:`validate` is expected to return of a random order; nothing where that is next to 0."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return what the report should say about the weights now, as JSON values."""
        return {}


class Contrastive(Learner):
    """Queries and documents as vectors, compared by their dot product, trained by InfoNCE.

    Candidates of a query are the documents of all queries of its batch: of each, one relevant document and ``group - 1`` mined
    negatives, drawn anew at every step. A candidate that is relevant to the query and not its target, or is read in another form,
    is left out of its sum.
    """

    def __init__(self, recipe: Recipe, examples: Examples) -> None:
        self.recipe, self.examples = recipe, examples
        self._held = HeldOut(examples, examples.pool)

    @abstractmethod
    def queries(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the vectors of queries, ``[n, dim]``."""

    @abstractmethod
    def documents(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the vectors of documents, ``[n, dim]``."""

    def loss(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Return InfoNCE over the batch."""
        drawn = Candidates.draw(self.recipe, self.examples, rows, step)
        asked, found = self.queries(rows), self.documents(drawn.documents)
        return drawn.loss(asked @ found.T, self.recipe.training.temperature)

    @property
    def against(self) -> str:
        """All documents, or as many as can be."""
        return f"{len(self.examples.pool)} documents of all sources"

    def validate(self) -> dict[str, float]:
        """Return the mean nDCG@10 of the held-out queries, ranked against ``examples.pool``, by task."""
        import torch

        rows, pool = self.examples.held.tolist(), self._held.pool
        by_length = pool[np.argsort([len(self.examples.documents[doc]) for doc in pool], kind="stable")]
        with torch.inference_mode():
            blocks = [by_length[i : i + 256].tolist() for i in range(0, len(pool), 256)]
            found = torch.cat([self.documents(block) for block in blocks])[np.argsort(by_length)]
            scores = torch.cat([self.queries(rows[i : i + 256]) @ found.T for i in range(0, len(rows), 256)])
        return self._held.ndcg(scores.float().cpu().numpy())


class HeldOut:
    """The held-out queries, each with what is relevant to it among the documents of a pool.

    A relevant document counts once, as the query's source reads it. Other readings of it are left out of the query's ranking: the
    whole document begins with the very title that a query asks with, and a text without one sentence is nearly the text.

    Attributes:
        pool: the numbers of the documents, ``int64[D]``.
        relevant: of each query, in the order of ``examples.held``, those that count.
    """

    def __init__(self, examples: Examples, pool: NDArray[np.int64]) -> None:
        self.pool, self._examples = pool, examples
        column = {number: place for place, number in enumerate(pool.tolist())}
        self.relevant: list[frozenset[int]] = []
        self._left_out: list[list[int]] = []
        for row in examples.held:
            query, there = examples.queries[row], examples.relevant[row] & column.keys()
            self.relevant.append(there & {*query.positives, *query.also})
            self._left_out.append([column[number] for number in there - self.relevant[-1]])

    def ndcg(self, scores: NDArray[np.floating[Any]]) -> dict[str, float]:
        """Return the mean nDCG@10 by task, of the scores of all queries, ``[Q, D]``."""
        ranked = scores.copy()
        for own, places in zip(ranked, self._left_out, strict=True):
            own[places] = -np.inf
        return self._examples.by_task(ndcg(ranked, self.relevant, self.pool.tolist()))


def ndcg(
    scores: NDArray[np.floating[Any]], relevant: Sequence[frozenset[int]], pool: Sequence[int], k: int = 10
) -> NDArray[np.float64]:
    """Return nDCG@k of every query, ``float64[Q]``, with gains of 1; of equal scores, the later document leads.

    Args:
        scores: ``[Q, D]``.
        relevant: of each query; those that are not in the pool, which nothing could find, are not asked for. A query without any
            has 0.
        pool: the numbers of the documents, ``[D]``.
        k: the ranks that count.
    """
    numbers = np.asarray(pool)
    discount = 1 / np.log2(np.arange(2, k + 2))
    last = scores.shape[1] - min(k, scores.shape[1])
    least = np.partition(scores, last, axis=1)[:, last]
    values = np.zeros(len(scores))
    for row, lowest in enumerate(least):
        near = np.flatnonzero(scores[row] >= lowest)
        best = near[np.lexsort((-near, -scores[row, near]))[:k]]
        good = np.isin(numbers, list(relevant[row]))
        hits, ideal = good[best], discount[: good.sum()].sum()
        values[row] = (hits * discount[: len(hits)]).sum() / ideal if ideal else 0.0
    return values


def expected_ndcg(count: int, relevant: int, k: int = 10) -> float:
    """Return the mean of :func:`ndcg` over all orders of ``count`` documents, of which so many are relevant."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    return float(relevant / count * discount[:count].sum() / discount[:relevant].sum())
