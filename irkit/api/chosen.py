"""Which collections and pipelines a run with ``--only`` and ``--pipeline`` computes, and which it can show without computing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from irkit.api.workspace import Workspace
from irkit.config.choice import UnclearError, choose, macro_sets
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, DataError, Problem, nearest
from irkit.data.open import is_built
from irkit.exec.plan import plan


def chosen(experiment: Experiment, only: Sequence[str]) -> list[str]:
    """Return the collections that names, whole or short, stand for, in the experiment's order; all when there is no name.

    Raises:
        ConfigError: naming each name that stands for none or for several.
    """
    if not only:
        return list(experiment.collections)
    sets, names = macro_sets(experiment.collections), list(experiment.collections)
    found: set[str] = set()
    problems = []
    for asked in only:
        try:
            name = choose(asked, names, sets)
        except UnclearError as unclear:
            problems.append(Problem(str(unclear), f"--only {asked}", unclear.hint))
            continue
        found.update(sets.get(name, (name,)))
    if problems:
        raise ConfigError(*problems)
    return [name for name in names if name in found]


def chosen_pipelines(experiment: Experiment, asked: Sequence[str]) -> list[str]:
    """Return the pipelines of these names, in the experiment's order; all when there is no name.

    Raises:
        ConfigError: naming each name that no pipeline has.
    """
    names = list(experiment.pipelines)
    problems = [
        Problem(f"the experiment has no pipeline {name!r}", f"--pipeline {name}", nearest(name, names))
        for name in asked
        if name not in experiment.pipelines
    ]
    if problems:
        raise ConfigError(*problems)
    return [name for name in names if name in asked] if asked else names


def stored(experiment: Experiment, names: Iterable[str], workspace: Workspace) -> list[str]:
    """Return those of some collections of which nothing would have to be computed, downloaded or built.

    What earlier runs left in the store is known by its content, so these are the scores that a run on everything would show.
    """
    wanted = list(experiment.pipelines)
    return [name for name in names if _stored(experiment, wanted, name, workspace) == wanted]


def stored_pipelines(
    experiment: Experiment, names: Iterable[str], collections: Iterable[str], workspace: Workspace
) -> list[str]:
    """Return those of some pipelines of which, on all of some collections, nothing would have to be computed."""
    found = list(names)
    for collection in collections:
        found = _stored(experiment, found, collection, workspace)
    return found


def _stored(experiment: Experiment, names: Sequence[str], collection: str, workspace: Workspace) -> list[str]:
    spec = experiment.collections[collection]
    try:
        if not names or not is_built(spec, workspace.store, base=workspace.root):
            return []
    except DataError:  # its files are not there: it is left out, and the report says so
        return []
    ends = {name: experiment.pipelines[name].graph() for name in names}
    lacking = {
        name
        for node in plan(workspace.context(workspace.open(spec)), ends)
        for name in node.pipelines
        if node.status not in ("stored", "not needed") or not (node.explains is None or node.explains.stored)
    }
    return [name for name in names if name not in lacking]


def restricted(experiment: Experiment, pipelines: Sequence[str]) -> Experiment:
    """Return the experiment with some of its pipelines alone; what others were to be compared with goes with them.

    With an order control stays the pipeline that it is of: alone it would be a pipeline like any other, and be ranked.
    """
    kept = {*pipelines, *(of for control, of in experiment.controls.items() if control in pipelines)}
    return replace(
        experiment,
        pipelines={name: each for name, each in experiment.pipelines.items() if name in kept},
        baseline=experiment.baseline if experiment.baseline in kept else None,
        expected={
            collection: {name: scores for name, scores in of.items() if name in kept}
            for collection, of in experiment.expected.items()
        },
        reference={name: each for name, each in experiment.reference.items() if name in kept},
    )
