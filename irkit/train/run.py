"""``irkit train``: a recipe's examples are prepared where they are missing, then fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from irkit.api.workspace import Workspace
from irkit.data.open import resolve
from irkit.train.examples import Examples
from irkit.train.fit import Fitting, fit
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, load_recipe

EXAMPLES = "examples.json.gz"


def load(path: Path, settings: tuple[str, ...], workspace: Workspace) -> Recipe:
    """Read a recipe; collections that cannot be there are problems of their lines.

    Raises:
        ConfigError: naming every problem of the file at once, each with ``file:line``.
    """
    root, store = workspace.root, workspace.store
    return load_recipe(path, settings, lambda spec: resolve(spec, base=root, store=store), root)


def fitting(workspace: Workspace, output: Path, model: str | None = None) -> Fitting:
    """Return how to fit in a workspace."""
    return Fitting(output, workspace.root, workspace.runtime, model, workspace.progress)


def examples_for(recipe: Recipe, workspace: Workspace, work: Path) -> Examples:
    """Return the examples of a recipe: those that an interrupted run left, or new ones, which are kept until training is over.

    Raises:
        IrkitError: for anything a user can mend.
    """
    path = work / EXAMPLES
    prints = [workspace.open(source.collection).fingerprint for source in recipe.data]
    if path.is_file():
        found = Examples.load(path)
        same = [source["fingerprint"] for source in found.origin["sources"]] == prints
        if same and found.origin["shared"] == recipe.shared():
            return replace(found, recipe=recipe.to_data())
    made = prepare(recipe, workspace)
    made = replace(made, origin={**made.origin, "shared": recipe.shared()})
    made.save(path)
    return made


def run(recipe: Recipe, workspace: Workspace, output: Path) -> dict[str, dict[str, Any]]:
    """Prepare and fit; see :func:`irkit.train.fit.fit`."""
    how = fitting(workspace, output)
    return fit(recipe, examples_for(recipe, workspace, how.work), how)
