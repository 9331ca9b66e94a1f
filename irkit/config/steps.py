"""The steps of a pipeline: a stage's name alone, or its name and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from irkit.config.yaml import Located
from irkit.core.errors import ConfigError, Place, Problem
from irkit.pipeline.graph import Pipeline, Step
from irkit.pipeline.options import option_faults
from irkit.pipeline.registry import stage_class

OF = "of"
"""The key under which a fusion stage holds its pipelines. It belongs to the graph, not to the stage's options."""


def read_pipeline(
    located: Located, path: Place, value: Any, problems: list[Problem], base: Path | None = None
) -> Pipeline | None:
    """Read a list of steps; append what is wrong to ``problems`` and return None when anything was.

    With ``base``, the folder of the workspace, stages look for the files that their options name.
    """
    if isinstance(value, str | dict):
        value = [value]  # a pipeline of one stage may go without the list
    if not isinstance(value, list):
        problems.append(
            located.problem(path, f"a pipeline is a list of stages, not {value!r}", "write: - bm25: {k: 100}")
        )
        return None
    steps = [_read_step(located, (*path, index), item, problems, base) for index, item in enumerate(value)]
    return Pipeline(tuple(step for step in steps if step)) if all(steps) else None


def _read_step(
    located: Located, path: Place, item: Any, problems: list[Problem], base: Path | None
) -> Step | None:
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, dict) or len(item) != 1:
        found = f"a mapping of {len(item)} keys ({', '.join(item)})" if isinstance(item, dict) else repr(item)
        hint = "write one stage per list item: - bm25: {k: 100}"
        problems.append(
            located.problem(path, f"a step is one stage's name with its options, not {found}", hint)
        )
        return None
    ((name, options),) = item.items()
    here = (*path, name)
    if options is not None and not isinstance(options, dict):
        problems.append(
            located.problem(
                here, f"the options of {name!r} are a mapping, not {options!r}", f"write: {name}: {{...}}"
            )
        )
        return None
    options = dict(options or {})
    try:
        cls = stage_class(name)
    except ConfigError as error:
        problems += [located.problem(here, p.message, p.hint) for p in error.problems]
        return None
    branches: tuple[Pipeline | None, ...] = ()
    if cls.needs == "many":
        value = options.pop(OF, None)
        if not isinstance(value, list):
            problems.append(
                located.problem(
                    here, f"{name!r} needs a list of pipelines under {OF!r}", f"{OF}: [[bm25], [dense]]"
                )
            )
        else:
            branches = tuple(
                read_pipeline(located, (*here, OF, i), b, problems, base) for i, b in enumerate(value)
            )
    try:
        stage = cls(**options)
    except ValidationError as error:
        problems += validation_problems(located, here, error, cls.model_fields)
        return None
    for option, fault in stage.faults(base) if base else ():
        named = f"{fault.where}: {fault.message}" if fault.where else fault.message
        problems.append(located.problem((*here, option), named, fault.hint))
    return Step(stage, tuple(b for b in branches if b)) if all(b is not None for b in branches) else None


def validation_problems(
    located: Located, path: Place, error: ValidationError, fields: Mapping[str, FieldInfo]
) -> list[Problem]:
    """Turn pydantic's errors into problems with lines."""
    return [
        located.problem((*path, *fault.place), fault.message, fault.hint)
        for fault in option_faults(error, fields)
    ]
