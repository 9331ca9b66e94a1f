"""What a leaderboard ranks by: the metric, the collections, and how their mean is taken."""

from __future__ import annotations

from collections.abc import Sequence

from irkit.config.choice import UnclearError, choose
from irkit.core.errors import ConfigError, Problem, nearest
from irkit.core.metric import parse_metric
from irkit.report.judged_alike import require_alike
from irkit.report.leaderboard import View
from irkit.report.results import Results
from irkit.report.scores import macro_sets

USUAL = "ndcg@10"
Experiments = Sequence[tuple[str, Results]]
"""The files, for messages, and what they hold; the oldest first."""


def make_view(
    experiments: Experiments,
    metric: str | None = None,
    average: str | None = None,
    collections: Sequence[str] = (),
) -> View:
    """Return what is ranked by.

    Args:
        experiments: at least one.
        metric: in any spelling; ndcg@10 when None and any experiment has it, else the first that all have.
        average: one of the averages that the experiments name; the mean over all collections in view when None.
        collections: those to rank on, by name or a part of it; all when empty.

    Raises:
        ConfigError: for a metric, an average or a collection that no experiment has, an average of which nothing is in view, and
            experiments that define it differently.
        ReportError: for a collection in view that two experiments judge differently.
    """
    chosen = _metric(experiments, metric)
    definition = None if average is None else _definition(experiments, average)
    names = list(dict.fromkeys(info.name for _, each in experiments for info in each.collections))
    first = {info.name: info for _, each in reversed(experiments) for info in each.collections}
    if collections:
        names = _chosen(collections, names, macro_sets(first[name] for name in names))
    if definition is not None:
        inside = {name for parts in definition.values() for name in parts}
        names = [name for name in names if name in inside]
    infos = require_alike(experiments, names)
    sets = macro_sets(infos.values()) if definition is None else definition
    grouped = {name: macro for macro, parts in sets.items() for name in parts}
    members = {grouped.get(name, name): sets.get(grouped.get(name, name), (name,)) for name in names}
    whole = {name: tuple(parts) for name, parts in members.items() if set(parts) <= infos.keys()}
    if not whole:
        message = (
            "there is no collection to rank on"
            if average is None
            else f"no experiment has a whole member of {average!r}"
        )
        hint = f"there are: {', '.join(first)}" if first else "run an experiment first"
        raise ConfigError.of(message, hint=hint)
    kept = {name: infos[name] for parts in whole.values() for name in parts}
    of = len(definition) if definition is not None else len(whole)
    return View(chosen, average, whole, of, kept, tuple(sorted(kept)) if collections else None)


def _metric(experiments: Experiments, metric: str | None) -> str:
    have = {path: {score.metric: None for score in each.scores} for path, each in experiments}
    every = list(dict.fromkeys(name for names in have.values() for name in names))
    if metric is not None:
        wanted = str(parse_metric(metric))
        if wanted not in every:
            hint = nearest(wanted, every)
            raise ConfigError.of(f"no experiment has the metric {wanted!r}", where="--metric", hint=hint)
        return wanted
    common = [name for name in every if all(name in names for names in have.values())]
    if USUAL in every or not common:
        if USUAL in every:
            return USUAL
        told = "; ".join(f"{path}: {', '.join(names) or 'none'}" for path, names in have.items())
        raise ConfigError.of(
            "the experiments have no metric in common", where="--metric", hint=f"choose one: {told}"
        )
    return common[0]


def _definition(experiments: Experiments, average: str) -> dict[str, tuple[str, ...]]:
    told = [(path, each.averages[average]) for path, each in experiments if average in each.averages]
    if not told:
        names = list(dict.fromkeys(name for _, each in experiments for name in each.averages))
        raise ConfigError.of(
            f"no experiment has an average {average!r}", where="--average", hint=nearest(average, names)
        )
    first, ours = told[0]
    plain = _plain(ours)
    for path, theirs in told[1:]:
        if _plain(theirs) != plain:
            other = sorted(_plain(theirs).items() ^ plain.items())
            message = f"two experiments mean different things by {average!r}: {first} and {path}"
            hint = f"they differ in: {', '.join(dict.fromkeys(name for name, _ in other))}; leave one out"
            raise ConfigError.of(message, where="--average", hint=hint)
    return {member: tuple(parts) for member, parts in ours.items()}


def _plain(definition: dict[str, list[str]]) -> dict[str, frozenset[str]]:
    return {member: frozenset(parts) for member, parts in definition.items()}


def _chosen(asked: Sequence[str], names: Sequence[str], sets: dict[str, tuple[str, ...]]) -> list[str]:
    found: set[str] = set()
    problems = []
    for each in asked:
        try:
            name = choose(each, names, sets)
        except UnclearError as unclear:
            problems.append(Problem(str(unclear), f"--collections {each}", unclear.hint))
            continue
        found.update(sets.get(name, (name,)))
    if problems:
        raise ConfigError(*problems)
    return [name for name in names if name in found]
