"""What can be trained, by the name that a recipe's ``kind`` has. A kind is found without importing torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from irkit.core.errors import ConfigError, ModelError, nearest
from irkit.models.resolve import ResolvedModel, resolve

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
        Options: a pydantic model of its options, as they stand under ``options`` in a recipe.
    """

    Options: ClassVar[type[BaseModel]]

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
