"""Stages by short name: irkit's own and those of plug-in packages, through the entry-point group ``irkit.stages``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from irkit.core.errors import ConfigError, nearest
from irkit.pipeline.stage import Stage

GROUP = "irkit.stages"

_registered: dict[str, type[Stage]] = {}
S = TypeVar("S", bound=type[Stage])


@cache
def _entries() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            packages = sorted(e.dist.name if e.dist else e.value for e in (other, entry))
            raise ConfigError.of(
                f"two packages offer a stage named {entry.name!r}: {packages[0]} and {packages[1]}",
                hint=f"uninstall one of them: pip uninstall {packages[1]}",
            )
    return found


def register(name: str) -> Callable[[S], S]:
    """Register a stage class under a short name for this process: for notebooks, tests, and stages not worth a package.

    Raises:
        ConfigError: when an installed stage has the name already.
    """

    def add(stage_class: S) -> S:
        if name in _entries():
            raise ConfigError.of(f"a stage named {name!r} is installed already", hint="choose another name")
        stage_class.name = name
        _registered[name] = stage_class
        return stage_class

    return add


def stage_names() -> list[str]:
    """Return the names of all stages, sorted, without importing any."""
    return sorted({*_registered, *_entries()})


def stage_class(name: str) -> type[Stage]:
    """Return the class of the stage ``name``.

    Raises:
        ConfigError: when there is no such stage (with the nearest name), or its package offers something else or fails to import.
    """
    if name in _registered:
        return _registered[name]
    entry = _entries().get(name)
    if entry is None:
        raise ConfigError.of(f"there is no stage {name!r}", hint=nearest(name, stage_names()))
    try:
        loaded = entry.load()
    except Exception as error:
        raise ConfigError.of(f"the stage {name!r} ({entry.value}) cannot be imported: {error!r}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Stage)):
        raise ConfigError.of(f"the entry point {name!r} ({entry.value}) is not a Stage class")
    loaded.name = name
    return loaded


def make_stage(name: str, /, **options: object) -> Stage:
    """Return the stage ``name`` with the given options.

    Raises:
        ConfigError: for an unknown name.
        pydantic.ValidationError: for options that do not fit.
    """
    return stage_class(name)(**options)
