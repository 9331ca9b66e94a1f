"""The result of an experiment as data: what ``results.json`` holds and every report is made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Record):
    """The mean of one metric over the judged queries of one collection."""

    collection: str
    pipeline: str
    metric: str
    value: float


class StageTime(_Record):
    """What one node of the graph cost. A cached node shows what it cost when it was computed, and is marked."""

    collection: str
    pipeline: str
    position: int
    stage: str
    label: str
    seconds: float
    prepare_seconds: float
    queries: int
    cached_queries: int
    """How many of the queries were found in the store: equal to ``queries`` for a node that was not run at all."""
    artifact_bytes: int
    """Of the index and other artifacts that the stage opens."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """Decisions: device, dtype, batch size, model revision."""


class CollectionInfo(_Record):
    """What was evaluated on, and under which policy."""

    name: str
    documents: int
    queries: int
    judged_queries: int
    judgements: int
    fingerprint: str
    policy: dict[str, Any]
    warnings: dict[str, tuple[int, str]] = Field(default_factory=dict)


class Expectation(_Record):
    """One entry of the experiment's ``expected``: off when it differs by more than ``tolerance``."""

    collection: str
    pipeline: str
    metric: str
    expected: float
    value: float
    tolerance: float
    status: Literal["match", "off"]


class PerQuery(_Record):
    """The values of every metric for each judged query, by pipeline and metric, aligned with ``qid``."""

    collection: str
    qid: list[str]
    values: dict[str, dict[str, list[float]]]


class Provenance(_Record):
    """What is needed to do it again."""

    command: str
    created: str
    irkit: str
    python: str
    platform: str
    cpus: int
    packages: dict[str, str]
    git: dict[str, Any] | None = None
    """commit, branch, dirty; None outside a git repository."""


class Results(_Record):
    """Everything that an experiment found out."""

    schema_version: Literal[1] = 1
    experiment: str
    description: str = ""
    metrics: list[str]
    pipelines: dict[str, list[Any]]
    """The resolved YAML form of every pipeline."""
    baseline: str | None = None
    scores: list[Score]
    stages: list[StageTime]
    collections: list[CollectionInfo]
    expected: list[Expectation] = Field(default_factory=list)
    provenance: Provenance
    seconds: float
    """Wall time of the whole run."""

    def value(self, collection: str, pipeline: str, metric: str) -> float:
        """Return one score.

        Raises:
            KeyError: when there is none.
        """
        for score in self.scores:
            if (score.collection, score.pipeline, score.metric) == (collection, pipeline, metric):
                return score.value
        raise KeyError((collection, pipeline, metric))
