"""What is wrong with a recipe whose parts are right each by itself: told before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.core.errors import Place
from irkit.pipeline.graph import Problems
from irkit.train.kinds import kind_of

if TYPE_CHECKING:
    from irkit.train.recipe import Recipe


def misfits(recipe: Recipe, base: Path | None) -> Problems:
    """Return what does not go together, of each variant, at the place where the variant or the recipe says it.

    Args:
        recipe: what to look at.
        base: the folder of the workspace; without it, no model is looked for.
    """
    found: Problems = []
    for name in recipe.variants or [None]:
        changes = recipe.variants[name] if name else {}
        for path, message, hint in kind_of(recipe.kind).check(recipe.variant(name), base):
            place: Place = ("variants", name, *path) if name and _says(changes, path) else path
            if (place, message, hint) not in found:
                found.append((place, message, hint))
    if recipe.pipeline is None:
        hint = "give negatives: {pipeline: [bm25: {k: 50}]}"
        message = "written queries are kept where the negatives' pipeline finds their documents"
        found += [
            (("data", i), message, hint) for i, each in enumerate(recipe.data) if each.task == "generated"
        ]
    return found


def idle_teacher(recipe: Recipe) -> Problems:
    """Return a problem where there is a teacher, and no variant that learns from its scores."""
    options = [recipe.variant(name).options for name in recipe.variants or [None]]
    if recipe.teacher is None or any(getattr(each, "distil", None) is not None for each in options):
        return []
    learns = "distil" in type(recipe.options).model_fields
    hint = (
        "set options: {distil: {}}, or leave it out"
        if learns
        else f"leave it out: {recipe.kind} learns from none"
    )
    return [(("teacher",), "nothing is learned from the teacher", hint)]


def _says(changes: Mapping[str, Any], path: Place) -> bool:
    inner: Any = changes
    for key in path:
        if not isinstance(inner, Mapping) or key not in inner:
            return False
        inner = inner[key]
    return True
