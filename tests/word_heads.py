"""ColBERTer's heads on a tiny encoder: recipes, learners, and what was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_training import toy_examples, toy_recipe

from irkit.models.colberter_trained import WordEncoder
from irkit.models.opening import open_encoder
from irkit.models.resolve import resolve
from irkit.train.learner import Surroundings
from irkit.train.multivector.kind import MultiVectorKind, MultiVectorOptions
from irkit.train.multivector.words import WordHeads
from irkit.train.recipe import Recipe


def recipe(model: Path, **options: Any) -> Recipe:
    given = MultiVectorOptions(
        **{"model": str(model), "dim": 8, "sentence_dim": 12, "reduce": "words", **options}
    )
    plain = toy_recipe(
        kind="multivector", options=None, training={"epochs": 10, "temperature": 0.05, "lr": 0.03}
    )
    return plain.model_copy(update={"options": given})


def learner(model: Path, folder: Path, examples: Any = None, **options: Any) -> WordHeads:
    place = Surroundings("cpu", folder, folder / "scratch")
    found = MultiVectorKind.open(recipe(model, **options), examples or toy_examples(), place)
    assert isinstance(found, WordHeads)
    return found


def opened(folder: Path) -> WordEncoder:
    found = open_encoder(resolve(str(folder), folder.parent), device="cpu")
    assert isinstance(found, WordEncoder)
    return found
