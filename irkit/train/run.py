"""``irkit train``: a recipe's examples are prepared where they are missing, then fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from irkit.api.workspace import Workspace
from irkit.core.fingerprint import fingerprint
from irkit.data.open import resolve
from irkit.exec.keys import Namer
from irkit.models.resolve import identify
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage
from irkit.stages.sentence_vectors import vectors_recipe
from irkit.stages.writing import WriterOptions
from irkit.train.bi_encoder import BiEncoderOptions
from irkit.train.examples import Examples
from irkit.train.fit import Fitting, alone, finished, fit_here
from irkit.train.kinds import kind_of
from irkit.train.learner import Stored
from irkit.train.prepare import prepare
from irkit.train.recipe import Recipe, load_recipe
from irkit.train.teacher.pipeline import completed

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


def examples_for(recipe: Recipe, workspace: Workspace, how: Fitting) -> Examples:
    """Return the examples of a recipe: those that an interrupted run left, or new ones, which are kept until training is over.
    They are not, where the folder that is to be written is refused.

    Raises:
        IrkitError: for anything a user can mend.
    """
    path = how.work / EXAMPLES
    shared = {**recipe.shared(), "content": _content(recipe, workspace)}
    if path.is_file():
        found = Examples.load(path)
        if found.origin.get("shared") == shared:
            return replace(found, recipe=recipe.to_data())
    made = prepare(recipe, workspace)
    made = replace(made, origin={**made.origin, "shared": shared})
    finished(recipe, made, how)
    made.save(path)
    return made


def _content(recipe: Recipe, workspace: Workspace) -> str:
    """Return the fingerprint of what lies behind the names in a recipe: collections, those that are excluded, and the stages of
    pipelines with their models. Loads no model.

    Raises:
        IrkitError: when there is no such collection or model.
    """
    contexts = [workspace.context(workspace.open(source.collection)) for source in recipe.data]
    namers = [Namer(context) for context in contexts]

    def named(pipeline: Pipeline | None) -> list[str]:
        return [] if pipeline is None else [namer.recipe(pipeline.graph()).base for namer in namers]

    return fingerprint(
        {
            "sources": [context.collection.fingerprint for context in contexts],
            "excluded": [
                [workspace.open(spec).fingerprint for spec in source.exclude] for source in recipe.data
            ],
            "writers": [
                (source.writer or WriterOptions()).identity(context) if source.task == "generated" else None
                for source, context in zip(recipe.data, contexts, strict=True)
            ],
            "negatives": named(recipe.pipeline),
            # a teacher's own collection is made of the examples; its stages and models are the same on the sources
            "teacher": named(recipe.teacher and completed(recipe.teacher)),
        }
    )


def found_models(recipe: Recipe, workspace: Workspace) -> None:
    """Look for the models of all variants, before examples are made for them. Downloads none.

    Raises:
        ModelError: when there is no such model.
    """
    kind = kind_of(recipe.kind)
    named = [kind.named(recipe.variant(name).options) for name in recipe.variants or [None]]
    for name in dict.fromkeys(name for each in named for name in each.values()):
        identify(name, workspace.root)


def run(recipe: Recipe, workspace: Workspace, how: Fitting) -> dict[str, dict[str, Any]]:
    """Prepare and fit, as :func:`fitting` says; see :func:`irkit.train.fit.fit`."""
    found_models(recipe, workspace)
    with alone(how):
        examples = examples_for(recipe, workspace, how)
        return fit_here(recipe, examples, replace(how, stored=stored(recipe, examples, workspace)))


def stored(recipe: Recipe, examples: Examples, workspace: Workspace) -> Stored:
    """Return what finds the vectors of the examples' documents in the store, where ``dense`` left them.

    A text's vector is the same, but for the last bits, in whatever company it was encoded (:mod:`irkit.models.batching`).
    """
    places = np.array(examples.origin.get("places", []), np.int64).reshape(-1, 2)

    def find(options: BiEncoderOptions) -> NDArray[np.float32] | None:
        from irkit.stages.dense import Dense

        if (places < 0).any():  # a part of a document, which no search has encoded
            return None
        own = options.model_dump(include=set(BiEncoderOptions.model_fields) & set(Dense.model_fields))
        dense, out = cast(Dense, make_stage("dense", **own)), None
        for source in np.unique(places[:, 0]).tolist():
            context = workspace.context(workspace.open(recipe.data[source].collection))
            kept = workspace.store.find(vectors_recipe(dense, context, dense.similarity))
            if kept is None:
                return None
            vectors = np.load(kept.file("vectors.npy"), mmap_mode="r", allow_pickle=False)
            out = np.zeros((len(places), vectors.shape[1]), np.float32) if out is None else out
            mine = places[:, 0] == source
            out[mine] = vectors[places[mine, 1]]
        return out

    return find
