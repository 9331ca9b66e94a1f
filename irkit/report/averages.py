"""Means over collections: a macro set counts as one, and an average says how many of its members it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from irkit.report.results import AverageScore, Results

Values = Mapping[tuple[str, str], float]
"""(pipeline, metric) -> score."""


@dataclass(frozen=True)
class Average:
    """One of the experiment's named averages.

    Attributes:
        members: those that the results have whole, each counting once.
        of: how many members the average has by its definition.
        values: of the pipelines with a score on each of ``members``.
    """

    name: str
    members: tuple[str, ...]
    of: int
    values: Values

    @property
    def title(self) -> str:
        """The name, and how many members there are when some are missing."""
        count = len(self.members)
        return self.name if count == self.of else f"{self.name} ({count} of {self.of})"


def named_averages(results: Results) -> list[Average]:
    """Return the experiment's averages over what was run, in its order; without those that have no member yet.

    A set of which a collection is missing is missing itself: the mean of five forums is not CQADupStack.
    """
    present = {score.collection for score in results.scores}
    found = []
    for name, definition in results.averages.items():
        whole = {member: parts for member, parts in definition.items() if present.issuperset(parts)}
        if whole:
            values = mean_of(
                [mean_of([values_of(results, part) for part in parts]) for parts in whole.values()]
            )
            found.append(Average(name, tuple(whole), len(definition), values))
    return found


def average_scores(results: Results) -> list[AverageScore]:
    """Return the averages as ``results.json`` has them."""
    return [
        AverageScore(
            average=each.name,
            pipeline=pipeline,
            metric=metric,
            value=value,
            members=len(each.members),
            of=each.of,
        )
        for each in named_averages(results)
        for (pipeline, metric), value in each.values.items()
    ]


def values_of(results: Results, collection: str) -> Values:
    """Return the scores of one collection."""
    return {(s.pipeline, s.metric): s.value for s in results.scores if s.collection == collection}


def mean_of(members: Sequence[Values]) -> Values:
    """Return the means of what every member has."""
    common = [key for key in members[0] if all(key in values for values in members)]
    return {key: fmean(values[key] for values in members) for key in common}
