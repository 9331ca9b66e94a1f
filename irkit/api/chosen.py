"""Which collections a run with ``--only`` computes, and which it can show without computing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from irkit.api.workspace import Workspace
from irkit.config.choice import UnclearError, choose, macro_sets
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, DataError, Problem
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


def stored(experiment: Experiment, names: Iterable[str], workspace: Workspace) -> list[str]:
    """Return those of some collections of which nothing would have to be computed, downloaded or built.

    What earlier runs left in the store is known by its content, so these are the scores that a run on everything would show.
    """
    ends = {name: pipeline.graph() for name, pipeline in experiment.pipelines.items()}
    found = []
    for name in names:
        spec = experiment.collections[name]
        try:
            if not is_built(spec, workspace.store, base=workspace.root):
                continue
        except DataError:  # its files are not there: it is left out, and the report says so
            continue
        nodes = plan(workspace.context(workspace.open(spec)), ends)
        told = all(node.explains is None or node.explains.stored for node in nodes)
        if told and all(node.status in ("stored", "not needed") for node in nodes):
            found.append(name)
    return found
