"""What can be trained, by the name that a recipe's ``kind`` has. A kind is found without importing torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from irkit.core.errors import ConfigError, ModelError, nearest
from irkit.models.resolve import ResolvedModel, find, resolve
from irkit.models.trained import read_trained
from irkit.pipeline.graph import Problems

if TYPE_CHECKING:
    from irkit.train.examples import Examples
    from irkit.train.learner import Learner, Surroundings
    from irkit.train.recipe import Recipe

_HOMES = {
    "adapter": "irkit.train.adapter:AdapterKind",
    "blockrank": "irkit.train.blockrank.kind:BlockRankKind",
    "lexsembridge": "irkit.train.lexsembridge:LexSemBridgeKind",
    "multivector": "irkit.train.multivector.kind:MultiVectorKind",
}
_registered: dict[str, type[Kind]] = {}


class Kind(ABC):
    """Something that can be trained.

    Class attributes:
        Options: a pydantic model of its options, as they stand under ``options`` in a recipe. Those that change no more than last
            bits are declared with :data:`irkit.pipeline.stage.EXECUTION`.
        version: counts up when the same recipe and examples would give other weights than before.
        training: its own defaults of the schedule, where they are not those of :class:`irkit.train.recipe.Training`.
        least: documents that a query brings along at least, ``training: {group: ...}``.
        models: the options that name models.
    """

    Options: ClassVar[type[BaseModel]]
    version: ClassVar[int] = 1
    training: ClassVar[Mapping[str, Any]] = {}
    least: ClassVar[int] = 1
    models: ClassVar[tuple[str, ...]] = ("model",)

    @classmethod
    @abstractmethod
    def open(cls, recipe: Recipe, examples: Examples, place: Surroundings) -> Learner:
        """Load models and return what the loop trains.

        Args:
            recipe: with ``options`` of the class above.
            examples: the training data, held-out queries included.
            place: device, workspace and the folder of intermediate files.

        Raises:
            ModelError: when the model cannot be loaded.
        """

    @classmethod
    def reads(cls, options: BaseModel, place: Surroundings) -> str | None:
        """Return the fingerprint of the model that training starts from; None where there is none."""
        return None

    @classmethod
    def check(cls, recipe: Recipe, base: Path | None) -> Problems:
        """Return what is wrong with a variant of a recipe, as far as it can be told before anything is computed or downloaded.

        Args:
            recipe: the variant's.
            base: the folder that relative paths start from; without it, no model is looked for.

        Returns:
            the place in the recipe, the message and the hint of each problem.
        """
        found: Problems = []
        mined = "negatives: {pipeline: [bm25: {k: 50}]}"
        if recipe.training.group < cls.least:
            hint = f"training: {{group: 20}}, and {mined}"
            found.append((("training", "group"), "a list of one document teaches nothing", hint))
        elif recipe.training.group > 1 and recipe.pipeline is None:
            hint = f"give {mined}" + (", or training: {group: 1}" if cls.least == 1 else "")
            found.append((("training", "group"), "a group of documents needs mined negatives", hint))
        if getattr(recipe.options, "distil", None) is not None and recipe.teacher is None:
            hint = "give teacher: {pipeline: [maxsim: {model: minilm}]}, or leave distil out"
            found.append((("options", "distil"), "there is no teacher to learn from", hint))
        for option, name in cls.named(recipe.options).items() if base else ():
            try:
                folder = find(name, base)
                trained = read_trained(folder) if folder is not None else None
            except ModelError as error:
                found += [(("options", option), each.message, each.hint) for each in error.problems]
            else:
                if trained is not None and trained.kind is not None and trained.base is not None:
                    message = (
                        f"{name} was trained itself, on top of {trained.base}: it cannot be trained further"
                    )
                    found.append((("options", option), message, f"train on {trained.base}"))
        return found

    @classmethod
    def named(cls, options: BaseModel) -> dict[str, str]:
        """Return the models that are named, by option."""
        given = {option: getattr(options, option, None) for option in cls.models}
        return {option: name for option, name in given.items() if name is not None}


def register_kind(name: str, kind: type[Kind]) -> None:
    """Register a kind for this process."""
    _registered[name] = kind


def kind_names() -> list[str]:
    """Return the names of all kinds, sorted, without importing any."""
    return sorted({*_HOMES, *_registered})


def kind_of(name: str) -> type[Kind]:
    """Return a kind by its name.

    Raises:
        ConfigError: when there is none of this name.
    """
    if name in _registered:
        return _registered[name]
    if name not in _HOMES:
        raise ConfigError.of(f"there is no kind {name!r}", where="kind", hint=nearest(name, kind_names()))
    module, _, attribute = _HOMES[name].partition(":")
    found: type[Kind] = getattr(import_module(module), attribute)
    return found


def find_model(name: str, place: Surroundings) -> ResolvedModel:
    """Return a model's files, under the name that the recipe gives it: those in ``place.model`` where training is told so.

    Raises:
        ModelError: when there is no such model.
    """
    return replace(resolve(place.model or name, place.base), name=name)


def find_base(name: str, place: Surroundings) -> ResolvedModel:
    """Return the files of a model that updates are to be trained for, as :func:`find_model` does.

    Raises:
        ModelError: when there is no such model, or it is an adapter: what was trained on it could not be loaded.
    """
    found = find_model(name, place)
    if found.base is not None:
        hint = f"train on {found.base.name}, or merge the two first: peft's merge_and_unload, then save_pretrained"
        raise ModelError.of("the model is an adapter itself", where=name, hint=hint)
    return found
