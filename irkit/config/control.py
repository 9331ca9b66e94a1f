"""Order control: a second pipeline whose reranker gets its candidates in random order, beside the one that is asked about.

A reranker that reads a whole list can come to its order by the places in which the candidates stand, and so hand on the order
of the stage before. A stage with ``order_control`` set (an option of rerankers with a language model) therefore has its pipeline
run once more, with ``shuffle`` instead: a pipeline like any other, computed, kept, evaluated and compared by itself. Only what
its stages looked at is not asked for: the report shows that of the pipeline itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from irkit.core.errors import Place
from irkit.pipeline.graph import Pipeline, Step

SUFFIX = " (shuffled)"
"""What is added to a pipeline's name."""


def shuffled(pipeline: Pipeline) -> Pipeline | None:
    """Return the pipeline's control, or None when no stage of it asks for one."""
    return _control(pipeline) if any(map(_asks, pipeline.steps)) else None


def _asks(step: Step) -> bool:
    here = getattr(step.stage, "order_control", None) is not None
    return here or any(_asks(each) for branch in step.of for each in branch.steps)


def _control(pipeline: Pipeline) -> Pipeline:
    return Pipeline(tuple(map(_shuffled, pipeline.steps)))


def _shuffled(step: Step) -> Step:
    stage, changes = step.stage, dict[str, Any]()
    if (seed := getattr(stage, "order_control", None)) is not None:
        changes |= {"shuffle": seed, "order_control": None}
    if getattr(stage, "explanations", 0):
        changes["explanations"] = 0
    if changes:
        stage = stage.model_copy(update=changes)
    return replace(step, stage=stage, of=tuple(map(_control, step.of)))


def controls(pipelines: Mapping[str, Pipeline]) -> dict[str, str]:
    """Return which of the pipelines are the control of which, by name."""
    names = {f"{name}{SUFFIX}": name for name in pipelines}
    return {
        control: name
        for control, name in names.items()
        if control in pipelines and pipelines[control] == shuffled(pipelines[name])
    }


def with_controls(
    pipelines: Mapping[str, Pipeline], fail: Callable[[Place, str, str], None]
) -> dict[str, Pipeline]:
    """Put behind each pipeline the control that it asks for. One that is written out too is the same, or ``fail`` is told."""
    result: dict[str, Pipeline] = {}
    for name, pipeline in pipelines.items():
        result.setdefault(name, pipeline)
        control, other = shuffled(pipeline), f"{name}{SUFFIX}"
        if control is None:
            continue
        if pipelines.get(other, control) != control:
            message = f"the name {other!r} is that of the order control of {name!r}"
            fail(("pipelines", other), message, "give this pipeline another name")
        result.pop(other, None)
        result[other] = control
    return result
