"""Free embeddings: vectors of queries and documents optimised on the judgements themselves, with no text and no model between.

Weller et al. 2025 (arXiv 2508.21038, section 4): if vectors that are free to lie anywhere cannot be made to rank the k relevant
documents of every query first, vectors that come from texts will not be. The settings are those of the authors' program
(google-deepmind/limit): vectors of unit length, drawn from a normal distribution; full-batch InfoNCE with every document in
the denominator, averaged over the pairs of a query and a relevant document, at temperature 0.1; Adam with a step of 0.01,
and lengths set back to one after every step; at most 100,000 steps, ended when the loss has not fallen by 1e-5 for 1000 steps or
when all queries are answered. (The paper's formula sums over the relevant documents inside the logarithm, which one of the k alone
can satisfy; its program, and this one, take the mean of the logarithms.)
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.theory.margin import PROVEN, margin
from irkit.theory.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Ended = Literal["solved", "stalled", "limit", "overtaken"]


@dataclass(frozen=True)
class Optimiser:
    """How vectors are optimised; the defaults are those of the paper's program.

    Attributes:
        rate: Adam's step.
        temperature: of InfoNCE.
        iterations: steps at most.
        patience: steps without progress after which it is given up.
        progress: by how much the loss must fall to count as progress.
        every: after how many steps the answers are looked at.
    """

    rate: float = 0.01
    temperature: float = 0.1
    iterations: int = 100_000
    patience: int = 1000
    progress: float = 1e-5
    every: int = 50


@dataclass(frozen=True)
class Trial:
    """What became of one start.

    Attributes:
        seed: of the first vectors.
        solved: whether every query's best k documents are its relevant ones, checked in float64.
        ended: by being solved, by the loss standing still, at the limit of steps, or because another start of the batch was first.
        iterations: steps made.
        loss: the last.
        missed: queries not answered at the last look.
        margin: of a solved one: see :func:`irkit.theory.margin.margin`.
        seconds: its share of the time of the batch that it was in.
    """

    seed: int
    solved: bool
    ended: Ended
    iterations: int
    loss: float
    missed: int
    margin: float | None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def solve(
    relevant: NDArray[np.int64], n: int, dim: int, seeds: Sequence[int], how: Optimiser, device: str
) -> list[Trial]:
    """Optimise from several starts at once, until one of them has solved it or all have ended.

    The same arguments give the same trials on the same device with the same number of threads. Another number of starts in the
    batch may round differently, and after thousands of steps that shows.

    Args:
        relevant: [m, k], the documents of each query; every query has k.
        n: documents; more than k.
        dim: of the vectors.
        seeds: one for each start.
        how: the optimiser.
        device: of torch.

    Returns:
        one trial for each seed, in their order.

    Raises:
        ConfigError: when the device has too little memory.
    """
    from irkit.models.device import is_out_of_memory

    try:
        return _Batch(relevant, n, dim, seeds, how, device).run()
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or is_out_of_memory(error)):
            raise
        hint = "optimise fewer starts at once (--starts), or smaller dimensions"
        message = f"{len(seeds)} x {len(relevant)} x {n} scores do not fit into the memory of {device}"
        raise ConfigError.of(message, where=f"d={dim}, n={n}", hint=hint) from error


class _Batch:
    """Several starts of one problem, optimised together; a start that has ended leaves."""

    def __init__(
        self, relevant: NDArray[np.int64], n: int, dim: int, seeds: Sequence[int], how: Optimiser, device: str
    ) -> None:
        import torch

        self.judged, self.n, self.how, self.seeds = relevant, n, how, list(seeds)
        self.began = time.perf_counter()
        points = torch.stack([_start(seed, len(relevant), n, dim) for seed in seeds]).to(device)
        judged = torch.from_numpy(relevant).to(device).expand(len(seeds), *relevant.shape)
        self.steps = Steps(points, judged, how.rate, how.temperature, how.every)
        self.best = [float("inf")] * len(seeds)
        self.stale = [0] * len(seeds)
        self.trials: dict[int, Trial] = {}

    def run(self) -> list[Trial]:
        order, done = list(self.seeds), 0
        while self.seeds:
            steps = min(self.how.every, self.how.iterations - done)
            losses = self.steps.advance(done, steps)
            done += steps
            self._look(losses, done)
        share = (time.perf_counter() - self.began) / len(order)
        return [replace(self.trials[seed], seconds=share) for seed in order]

    def _look(self, losses: list[list[float]], done: int) -> None:
        """Note which starts have ended; one that has solved it ends all."""
        missed = self._missed()
        ended = dict[int, tuple[Ended, float | None]]()
        for at in range(len(self.seeds)):
            for loss in losses[at]:
                fell = loss < self.best[at] - self.how.progress
                self.stale[at] = 0 if fell else self.stale[at] + 1
                self.best[at] = loss if fell else self.best[at]
            if not missed[at] and (above := self._margin(at)) > PROVEN:
                ended[at] = ("solved", above)
            elif self.stale[at] >= self.how.patience:
                ended[at] = ("stalled", None)
            elif done >= self.how.iterations:
                ended[at] = ("limit", None)
        if any(how == "solved" for how, _ in ended.values()):
            ended = {at: ended.get(at, ("overtaken", None)) for at in range(len(self.seeds))}
        for at, (how, found) in ended.items():
            last = (done, losses[at][-1], missed[at], found)
            self.trials[self.seeds[at]] = Trial(self.seeds[at], how == "solved", how, *last)
        if ended:
            self._keep([at for at in range(len(self.seeds)) if at not in ended])

    def _missed(self) -> list[int]:
        """Count each start's queries whose relevant documents are not all strictly above the others, in float32."""
        m = len(self.judged)
        points, relevant = self.steps.points, self.steps.relevant
        scores = points[:, :m] @ points[:, m:].transpose(1, 2)
        lowest = scores.gather(2, relevant).amin(2)
        scores.scatter_(2, relevant, float("-inf"))
        found: list[int] = (lowest <= scores.amax(2)).sum(1).tolist()
        return found

    def _margin(self, at: int) -> float:
        points, m = self.steps.points[at].cpu().numpy(), len(self.judged)
        return margin(points[:m], points[m:], self.judged)

    def _keep(self, places: list[int]) -> None:
        self.seeds = [self.seeds[at] for at in places]
        self.best = [self.best[at] for at in places]
        self.stale = [self.stale[at] for at in places]
        self.steps.keep(places)


def _start(seed: int, m: int, n: int, dim: int) -> Tensor:
    """Draw vectors of unit length, queries before documents, the same on every device."""
    import torch

    key = hashlib.sha256(f"irkit free embeddings {seed} {m} {n} {dim}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
    points = torch.randn(m + n, dim, generator=generator)
    return points / torch.linalg.vector_norm(points, dim=1, keepdim=True)
