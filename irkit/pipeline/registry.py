"""Stages by short name: irkit's own and those of plug-in packages, through the entry-point group ``irkit.stages``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar, get_args
from uuid import uuid4

from pydantic import ValidationError

from irkit.core.errors import ConfigError, Problem, nearest
from irkit.core.fingerprint import fingerprint
from irkit.pipeline.options import option_faults
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
        stage_class.origin = (
            f"{stage_class.__module__}:{stage_class.__qualname__} {_source_digest(stage_class)}"
        )
        _registered[name] = stage_class
        return stage_class

    return add


def stage_names(*, own: bool = False) -> list[str]:
    """Return the names of all stages, or of irkit's own only, sorted, without importing any."""
    if own:
        return sorted(name for name, entry in _entries().items() if entry.dist and entry.dist.name == "irkit")
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
        raise ConfigError.of(
            f"there is no stage {name!r}", hint=_as_method(name) or nearest(name, stage_names())
        )
    try:
        loaded = entry.load()
    except Exception as error:
        raise ConfigError.of(f"the stage {name!r} ({entry.value}) cannot be imported: {error!r}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Stage)):
        raise ConfigError.of(f"the entry point {name!r} ({entry.value}) is not a Stage class")
    loaded.name = name
    release = f" {entry.dist.name} {entry.dist.version}" if entry.dist and entry.dist.name != "irkit" else ""
    loaded.origin = entry.value + release
    return loaded


def _as_method(name: str) -> str | None:
    """Return how to write a published method that is no stage, but an option ``method`` of one of irkit's."""
    plain = name.lower().replace("_", "-")
    for stage in stage_names(own=True):
        field = stage_class(stage).model_fields.get("method")
        if field is not None and plain in _choices(field.annotation):
            return f"it is a method of {stage}: - {stage}: {{method: {plain}}}"
    return None


def _choices(annotation: object) -> list[str]:
    """Return the texts that a type such as ``Literal["a", "b"] | None`` allows."""
    return [
        each
        for part in get_args(annotation)
        for each in ([part] if isinstance(part, str) else _choices(part))
    ]


def _source_digest(stage_class: type[Stage]) -> str:
    """Tell two editions of a class apart: a notebook's cell that is run again must not get the old edition's results."""
    try:
        return fingerprint(inspect.getsource(stage_class))[:16]
    except (OSError, TypeError):  # typed at a prompt: a new edition each time
        return uuid4().hex


def make_stage(name: str, /, **options: object) -> Stage:
    """Return the stage ``name`` with the given options.

    Raises:
        ConfigError: for an unknown name, or options that do not fit: all of them at once.
    """
    loaded = stage_class(name)
    try:
        return loaded(**options)
    except ValidationError as error:
        faults = option_faults(error, loaded.model_fields)
        raise ConfigError(*(Problem(fault.message, name, fault.hint) for fault in faults)) from None
