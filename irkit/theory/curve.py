"""``irkit limit curve``: the critical n of every dimension, kept trial by trial, and what it says about a model's dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.core.fingerprint import canonical
from irkit.data.draws import Draws
from irkit.data.patterns import Pattern, groups, most_groups
from irkit.pipeline.context import Progress, Silent
from irkit.store.ledger import Ledger
from irkit.theory.free_embeddings import Optimiser, Trial, solve
from irkit.theory.polynomial import PAPER, Cubic, fit
from irkit.theory.search import find_critical

TRIALS = "trials"
_TOGETHER = 1 << 23
"""Scores of one start above which it occupies an accelerator by itself: starts then run one after the other."""

_VERSION = 2  # of the optimisation: counts up when the same settings give other trials


@dataclass(frozen=True)
class CurveSettings:
    """What is searched.

    Attributes:
        pattern: of relevance.
        k: relevant documents of a query.
        share: of all combinations, that the pattern random draws.
        starts: optimisations of one (d, n) from other first vectors; one that succeeds is enough.
        seed: of the first vectors and of the pattern random.
        largest: number of documents to try.
        beyond: sizes in a row that must fail; see :func:`irkit.theory.search.find_critical`.
        optimiser: how vectors are optimised.
    """

    pattern: Pattern = "dense"
    k: int = 2
    share: float = 0.5
    starts: int = 3
    seed: int = 0
    largest: int = 1024
    beyond: int = 2
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        """Refuse what no search can do."""
        for name, value, good in (
            ("k", self.k, self.k >= 1),
            ("share", self.share, 0 < self.share <= 1),
            ("starts", self.starts, self.starts >= 1),
            ("beyond", self.beyond, self.beyond >= 1),
            ("largest", self.largest, self.largest > self.k),
            ("rate", self.optimiser.rate, self.optimiser.rate > 0),
            ("temperature", self.optimiser.temperature, self.optimiser.temperature > 0),
            ("iterations", self.optimiser.iterations, self.optimiser.iterations >= 1),
            ("patience", self.optimiser.patience, self.optimiser.patience >= 1),
        ):
            if not good:
                what = "k must be less than it" if name == "largest" else "it is too small, or share above 1"
                raise ConfigError.of(f"{name}={value} is out of range", where=name, hint=what)

    def relevant(self, n: int) -> NDArray[np.int64]:
        """Return the documents of each query, [m, k]."""
        count = most_groups(self.pattern, n, self.k)
        if self.pattern == "random":
            count = max(1, round(count * self.share))
        draws = Draws(f"irkit limit curve {self.seed} {n} {self.k}")
        return np.array(groups(self.pattern, n, self.k, count, draws), np.int64)


@dataclass(frozen=True)
class Point:
    """The critical n of one dimension.

    Attributes:
        dim: the dimension.
        critical: the largest n that was solved, None where none was.
        capped: whether it is the largest that was tried.
        margin: of the solution at ``critical``.
        tried: (n, queries, trials) of every size, by n.
        hasty: whether the failures right behind it say little: every start was given up with its best loss in its first
            steps. In many dimensions the loss falls fast, rises, and falls anew for thousands of steps, which longer
            patience would see.
    """

    dim: int
    critical: int | None
    capped: bool
    margin: float | None
    tried: tuple[tuple[int, int, tuple[Trial, ...]], ...]
    hasty: bool = False

    @property
    def open(self) -> bool:
        """Whether the true critical n may well lie higher."""
        return self.capped or self.hasty

    def says(self) -> str:
        """Return the critical n in words."""
        return "none" if self.critical is None else f"{'at least ' if self.open else ''}{self.critical}"

    @property
    def seconds(self) -> float:
        """What all its optimisations took."""
        return sum(trial.seconds for _, _, trials in self.tried for trial in trials)


@dataclass(frozen=True)
class Curve:
    """All points, and what to compare them with."""

    settings: CurveSettings
    device: str
    points: tuple[Point, ...]
    model_dims: tuple[int, ...]

    @property
    def paper(self) -> Cubic | None:
        """The paper's cubic, where it is about the same thing."""
        return PAPER if self.settings.pattern == "dense" and self.settings.k == 2 else None

    @property
    def own(self) -> Cubic | None:
        """The cubic through the points whose critical n was reached: not open ones."""
        good = self.reached
        return fit([d for d, _ in good], [n for _, n in good])

    @property
    def reached(self) -> list[tuple[int, int]]:
        """The (dimension, critical n) that the search reached the end of."""
        return [(p.dim, p.critical) for p in self.points if p.critical is not None and not p.open]

    def standing(self) -> list[dict[str, Any]]:
        """Return, for each dimension of a model, the documents of which all combinations fit by each curve.

        A cubic that falls below what was found in fewer dimensions has nothing to say there: None.
        """
        curves = {"paper": self.paper, "own": self.own}
        reached = max((point.critical or 0 for point in self.points), default=0)
        rows: list[dict[str, Any]] = []
        for dim in self.model_dims:
            row: dict[str, Any] = {"dim": dim}
            for name, cubic in curves.items():
                value = cubic(dim) if cubic else 0.0
                inside = dim <= max(point.dim for point in self.points)
                row[name] = round(value) if value > 0 and (inside or value >= reached) else None
            rows.append(row)
            rows[-1]["construction"] = dim >= 2 * self.settings.k
        return rows


def trace(
    dims: Sequence[int],
    settings: CurveSettings,
    folder: Path,
    *,
    device: str,
    model_dims: Sequence[int] = (384, 768, 1024, 4096),
    progress: Progress | None = None,
    each: Callable[[Curve], object] = lambda _: None,
) -> Curve:
    """Find the critical n of every dimension. A finished optimisation is kept in ``folder``; the same call goes on from there.

    The starts of one (d, n) run one after the other, and one that succeeds saves the others; on a GPU all run at once while
    they are small.

    Args:
        dims: the dimensions, each at least 1.
        settings: what is searched.
        folder: of the kept trials, ``trials.jsonl``; made where it is missing.
        device: of torch.
        model_dims: dimensions of models, to place on the curve.
        progress: where to show it.
        each: is given the curve so far after every dimension.

    Raises:
        ConfigError: when a dimension is not positive, or the device has too little memory.
        StoreError: when the folder cannot be written.
    """
    wrong = [dim for dim in (*dims, *model_dims) if dim < 1]
    if wrong or not dims:
        raise ConfigError.of(
            f"{wrong[0] if wrong else 'none'} is no dimension", where="dims", hint="for example 4..20"
        )
    shown = progress or Silent()
    ledger = Ledger(folder / f"{TRIALS}.jsonl", folder / ".locks")
    points: list[Point] = []
    with shown.task(f"critical n, {settings.pattern}", len(dims)) as advance:
        for dim in dims:
            points.append(_Dimension(dim, settings, ledger, device, shown).find())
            curve = Curve(settings, device, tuple(points), tuple(model_dims))
            each(curve)
            advance(1)
    return curve


class _Dimension:
    """The search of one dimension."""

    def __init__(
        self, dim: int, settings: CurveSettings, ledger: Ledger, device: str, progress: Progress
    ) -> None:
        self.dim, self.settings, self.ledger, self.device = dim, settings, ledger, device
        self.progress = progress
        self.tried: dict[int, tuple[int, list[Trial]]] = {}

    def find(self) -> Point:
        s = self.settings
        # the paper's curve is a good guess for pairs; larger groups end sooner
        guess = round(PAPER(self.dim)) if s.k <= 2 else self.dim + s.k
        found = find_critical(self._solved, guess, s.k + 1, s.largest, s.beyond)
        at = self.tried[found.n][1] if found.n is not None else []
        margin = next((trial.margin for trial in at if trial.solved), None)
        tried = tuple((n, m, tuple(trials)) for n, (m, trials) in sorted(self.tried.items()))
        behind = self.tried[found.n + 1][1] if found.n is not None and not found.capped else []
        soon = s.optimiser.patience + 2 * s.optimiser.every
        hasty = all(trial.ended == "stalled" and trial.iterations <= soon for trial in behind)
        return Point(self.dim, found.n, found.capped, margin, tried, bool(behind) and hasty)

    def _solved(self, n: int) -> bool:
        relevant, s = self.settings.relevant(n), self.settings
        seeds = range(s.seed, s.seed + s.starts)
        together = self.device != "cpu" and len(relevant) * n <= _TOGETHER
        batches = [list(seeds)] if together else [[seed] for seed in seeds]
        trials: list[Trial] = []
        for batch in batches:
            trials += self._batch(n, relevant, batch)
            if any(trial.solved for trial in trials):
                break
        self.tried[n] = (len(relevant), trials)
        best = next((trial for trial in trials if trial.solved), None)
        text = f"d={self.dim} n={n}: " + (
            f"solved in {best.iterations} steps, margin {best.margin:.2g}"
            if best
            else f"not solved, {min(t.missed for t in trials)} of {len(relevant)} queries missed at best"
        )
        self.progress.say(f"{text} ({sum(t.seconds for t in trials):.1f} s)")
        return best is not None

    def _batch(self, n: int, relevant: NDArray[np.int64], seeds: list[int]) -> list[Trial]:
        s = self.settings
        what: dict[str, Any] = {"pattern": s.pattern, "k": s.k, "n": n, "d": self.dim, "seeds": seeds}
        if s.pattern == "random":
            what |= {"share": s.share, "drawn by": s.seed}
        how = {"optimiser": asdict(s.optimiser), "device": self.device.partition(":")[0]}
        key = canonical({"version": _VERSION, **what, **how})
        found = self.ledger.get(key)
        if found is None:
            trials = solve(relevant, n, self.dim, seeds, s.optimiser, self.device)
            found = self.ledger.put(key, [trial.to_dict() for trial in trials])
        return [Trial(**trial) for trial in found]
