"""What a run adds to its scores: named averages, and how they compare with published ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from irkit.api.workspace import Workspace
from irkit.config.choice import macro_sets
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, Problem, nearest
from irkit.data.published import Published, published
from irkit.report.averages import average_scores
from irkit.report.reference import compare_with_published
from irkit.report.results import Results

_NAMED = 3
"""Of collections without a published score."""


def published_for(experiment: Experiment, workspace: Workspace) -> Mapping[str, Published]:
    """Return the published scores that the experiment names, before anything is computed.

    Raises:
        ConfigError: for names of which there are none.
        DataError: for a file of published scores of the workspace that cannot be read.
    """
    if not experiment.reference:
        return {}
    known = published(workspace.root)
    asked = dict.fromkeys(name for names in experiment.reference.values() for name in names)
    missing = [
        Problem(f"there are no published scores {name!r}", experiment.name, nearest(name, list(known)))
        for name in asked
        if name not in known
    ]
    if missing:
        raise ConfigError(*missing)
    return {name: known[name] for name in asked}


def without_published(
    experiment: Experiment,
    known: Mapping[str, Published],
    collections: Sequence[str],
    pipelines: Collection[str],
) -> list[str]:
    """Return, in sentences, what the experiment asks published scores for that they do not have.

    Args:
        experiment: with its key ``reference``.
        known: the published scores by name; others are passed over.
        collections: those that are looked for.
        pipelines: those whose published scores are.
    """
    asked = (
        name for pipeline, names in experiment.reference.items() if pipeline in pipelines for name in names
    )
    sets = macro_sets(experiment.collections)
    told = []
    for name in dict.fromkeys(asked):
        if name not in known:
            continue
        scores, averages = known[name].scores, known[name].averages
        named = [average for average in experiment.averages if average in averages]
        if not scores:
            if not named:
                told.append(
                    f"{name} has averages only ({', '.join(averages)}), and the experiment has none of them"
                )
            continue
        inside = {member for macro, members in sets.items() if macro in scores for member in members}
        missing = [each for each in collections if each not in scores and each not in inside]
        if missing:
            few = ", ".join(missing[:_NAMED]) + (
                f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else ""
            )
            told.append(f"{name} has no score for {few}")
        for each in collections:
            metrics = scores.get(each, {})
            if metrics and not any(metric in metrics for metric in experiment.metrics):
                told.append(
                    f"{name} has {', '.join(metrics)} for {each}, none of which the experiment computes"
                )
    return told


def with_published(results: Results, experiment: Experiment, known: Mapping[str, Published]) -> Results:
    """Return the results with the experiment's averages, and with the published scores that it wants beside them."""
    averages = {
        name: {member: list(parts) for member, parts in members.items()}
        for name, members in experiment.averages.items()
    }
    averaged = results.model_copy(update={"averages": averages})
    sets = macro_sets(experiment.collections)
    beside = compare_with_published(averaged, experiment.reference, known, sets, experiment.tolerance)
    return averaged.model_copy(update={"average_scores": average_scores(averaged), "reference": beside})
