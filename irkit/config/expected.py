"""The key ``expected`` of an experiment: scores that a reproduction must meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.config.averages import Fail
from irkit.core.errors import ConfigError, Place, nearest
from irkit.core.metric import parse_metric

Expected = Mapping[str, Mapping[str, Mapping[str, float]]]
"""collection -> pipeline -> metric -> value."""

_EXAMPLE = "for example: expected: {bm25: {ndcg@10: 0.679}}"


@dataclass(frozen=True)
class ExpectedReader:
    """Reads ``expected`` against the names that the experiment has."""

    collections: Sequence[str]
    pipelines: Sequence[str]
    metrics: Sequence[str]
    fail: Fail

    def read(self, value: Any) -> Expected:
        """Return the scores by collection; with one collection its name may be left out."""
        if value is None:
            return {}
        path: Place = ("expected",)
        if not isinstance(value, dict):
            what = "'expected' maps pipelines (or collections, then pipelines) to metrics and values"
            self.fail(path, what, _EXAMPLE)
            return {}
        named = any(key in self.collections and key not in self.pipelines for key in value)
        if len(self.collections) == 1 and not named and not _deep(value):
            return {self.collections[0]: self._scores(path, value)}
        result = {}
        for collection, scores in value.items():
            if collection not in self.collections:
                known = [*self.collections, *(self.pipelines if len(self.collections) == 1 else ())]
                self.fail(
                    (*path, collection), f"there is no collection {collection!r}", nearest(collection, known)
                )
            result[collection] = self._scores((*path, collection), scores)
        return result

    def _scores(self, path: Place, value: Any) -> dict[str, dict[str, float]]:
        result: dict[str, dict[str, float]] = {}
        for pipeline, scores in self._mapping(path, value, "pipelines with their scores").items():
            here = (*path, pipeline)
            if pipeline not in self.pipelines:
                self.fail(here, f"there is no pipeline {pipeline!r}", nearest(pipeline, self.pipelines))
            result[pipeline] = {}
            for metric, number in self._mapping(here, scores, "metrics with their values").items():
                try:
                    known = str(parse_metric(metric))
                except ConfigError:
                    known = metric
                if known not in self.metrics:
                    message = f"{metric!r} is not among the experiment's metrics"
                    self.fail((*here, metric), message, nearest(metric, list(self.metrics)))
                result[pipeline][known] = share((*here, metric), number, self.fail)
        return result

    def _mapping(self, path: Place, value: Any, of: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.fail(path, f"expected {of}, not {value!r}", _EXAMPLE)
        return {}


def share(path: Place, value: Any, fail: Fail) -> float:
    """Return a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        fail(path, f"expected a number from 0 to 1, not {value!r}")
        return 0.0
    return float(value)


def _deep(value: Mapping[str, Any]) -> bool:
    """Whether expected scores are written with their collections."""
    parts = [part for part in value.values() if isinstance(part, dict)]
    return any(isinstance(inner, dict) for part in parts for inner in part.values())
