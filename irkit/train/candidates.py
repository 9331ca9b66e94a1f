"""The documents that a batch's queries are compared with in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from irkit.train.examples import Examples
from irkit.train.losses import info_nce
from irkit.train.recipe import Recipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Candidates:
    """The documents of all B queries of a batch, D different ones.

    Attributes:
        documents: their numbers, each once.
        own: for each query the columns of its own documents, the target first.
        barred: ``bool[B, D]``, what is left out of a query's sum: documents that are relevant to it and not its target, and those
            that are read in another form than the target, with a title or without, which would tell them apart from it.
    """

    documents: list[int]
    own: list[list[int]]
    barred: NDArray[np.bool_]

    @classmethod
    def draw(cls, recipe: Recipe, examples: Examples, rows: Sequence[int], step: int) -> Candidates:
        """Draw, of each query, a relevant document and ``group - 1`` mined negatives; from the seed and the step alone."""
        draws = np.random.Generator(np.random.PCG64([recipe.seed, 1, step]))
        found: list[list[int]] = []
        for row in rows:
            query = examples.queries[row]
            found.append([query.positives[draws.integers(len(query.positives))]])
            some = min(recipe.training.group - 1, len(query.negatives))
            if some:
                found[-1] += [
                    query.negatives[i] for i in draws.choice(len(query.negatives), some, replace=False)
                ]
        documents = list(dict.fromkeys(number for each in found for number in each))
        column = {number: i for i, number in enumerate(documents)}
        own = [[column[number] for number in each] for each in found]
        targets, parts = [each[0] for each in own], examples.parts[documents]
        relevant = [np.isin(documents, list(examples.relevant[row])) for row in rows]
        barred = np.array(relevant) | (parts != parts[targets][:, None])
        barred[np.arange(len(rows)), targets] = False
        return cls(documents, own, barred)

    def loss(self, scores: torch.Tensor, temperature: float) -> torch.Tensor:
        """Return the mean over the queries of InfoNCE, of ``scores`` ``[B, D]``."""
        import torch

        target = torch.tensor([each[0] for each in self.own], device=scores.device)
        return info_nce(scores, target, torch.from_numpy(self.barred).to(scores.device), temperature)
