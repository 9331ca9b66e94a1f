"""The stage: one step of a pipeline, declared by a small frozen configuration.

A stage author writes a subclass of :class:`Retriever`, :class:`Reranker`, :class:`Fusion`, :class:`Filter` or :class:`QueryStage`
with its options as fields, loads models and opens indexes in ``prepare`` only, and computes in ``run``. Neither importing the
module nor creating the stage may load a heavy library: both happen whenever an experiment is validated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

from irkit.core.errors import Problem
from irkit.core.fingerprint import canonical
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.pipeline.graph import Pipeline, Sum, Weighted

EXECUTION: Mapping[str, Any] = {"execution": True}
"""``Field(json_schema_extra=EXECUTION)`` declares an option that cannot change a result: batch size, threads, device."""


def decisive(options: type[BaseModel]) -> set[str]:
    """Return the names of the options that can change a result: those not declared with :data:`EXECUTION`."""
    return {
        name
        for name, info in options.model_fields.items()
        if not (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("execution"))
    }


Needs = Literal["none", "optional", "one", "many"]


@dataclass(frozen=True)
class Batch:
    """The input of ``run``: Q queries, and one Rankings of Q queries for each upstream that the stage consumes."""

    queries: Queries
    upstream: tuple[Rankings, ...] = ()

    @property
    def rankings(self) -> Rankings:
        """The only upstream's rankings."""
        (only,) = self.upstream
        return only


class Stage(BaseModel, ABC):
    """One step of a pipeline. Two equal stages are the same stage.

    Class attributes:
        name: the short name in YAML, set when the stage is registered.
        origin: where its code comes from, set then too: the module and class, and a plug-in's version. Part of every key.
        needs: how many upstream rankings it consumes.
        produces: ``rankings`` or ``queries``.
        takes: the forms of a query that it looks at (:mod:`irkit.stages.forms`); a query stage whose forms nobody takes is refused.
        cache_version: raise it when the code starts to give other results for the same options.
        uncounted: what of its work torch does not see, and does not count among its floating-point operations; "" for nothing.
        chunk: how many queries are run before the results are committed to the store (what a killed run loses at most).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", ignored_types=(cached_property,), protected_namespaces=()
    )

    name: ClassVar[str]
    origin: ClassVar[str]
    kind: ClassVar[str]
    needs: ClassVar[Needs]
    produces: ClassVar[Literal["rankings", "queries"]] = "rankings"
    takes: ClassVar[tuple[str, ...]] = ("text",)
    cache_version: ClassVar[int] = 1
    chunk: ClassVar[int] = 4096
    uncounted: ClassVar[str] = ""

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a result, as JSON values."""
        return self.model_dump(mode="json", include=decisive(type(self)))

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return what else decides the result: model revisions, library versions. Must be cheap and load nothing heavy."""
        return {}

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the files and lists that options name, each with the option: asked when an experiment is read.

        Must be cheap and load nothing heavy. What needs a model or a collection is for ``identity`` and ``prepare`` to find out.

        Args:
            base: the folder that relative paths start from.
        """
        return []

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipes of what ``prepare`` takes from the store, for ``irkit plan``. Must be cheap and load nothing."""
        return []

    def opens(self, context: Context) -> list[Recipe]:
        """Return those of :meth:`artifacts` that ``run`` reads; others are only built on the way to them. Their keys are part of
        the results' key, so what decides an artifact need not be in ``identity`` too.
        """
        return self.artifacts(context)

    def prepare(self, context: Context) -> Any:
        """Load models, open or build indexes, and return what ``run`` needs. The default returns the context."""
        return context

    def declines(self, form: str) -> str | None:
        """Return the option that keeps the stage, as it is, from taking a form of ``takes``; None unless there is one."""
        return None

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the options that decide in which space the stage takes and gives a form of a query: an analyser, a model.

        Where a stage takes what another one gives, those of the same name must be equal, which is asked before anything is
        loaded. Empty when the options do not tell.
        """
        return {}

    def check(self, upstream: int) -> None:
        """Raise ValueError when the stage cannot work on this number of upstream rankings."""

    @abstractmethod
    def run(self, batch: Batch, state: Any) -> Rankings | Queries:
        """Compute the results of a batch. A query's result may depend only on that query and the collection.

        Args:
            batch: the queries and the upstream rankings.
            state: what ``prepare`` returned.
        """

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with some options changed; what was worked out from the options is not copied with them."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_text", None)
        return copied

    @cached_property
    def _text(self) -> str:
        return canonical(self.model_dump(mode="json"))

    def __hash__(self) -> int:
        return hash((type(self), self._text))

    # Python's operators, as on pipelines

    def __rshift__(self, then: Pipeline | Stage) -> Pipeline:
        return _pipeline(self) >> then

    def __add__(self, other: Pipeline | Stage | Weighted) -> Sum:
        return _pipeline(self) + other

    def __mul__(self, weight: float) -> Weighted:
        return _pipeline(self) * weight

    __rmul__ = __mul__

    def __mod__(self, k: int) -> Pipeline:
        return _pipeline(self) % k


def _pipeline(stage: Stage) -> Pipeline:
    from irkit.pipeline.graph import Pipeline

    return Pipeline.of(stage)


class Retriever(Stage):
    """Queries -> Rankings. Writes ``search``; exclusions and the cutoff are applied here, for every retriever alike."""

    kind = "retriever"
    needs = "none"

    k: PositiveInt = 1000

    @abstractmethod
    def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
        """Return the best ``depth`` documents of every query: exactly these, ties at the end broken by code, descending."""

    @final
    def run(self, batch: Batch, state: Any) -> Rankings:
        """Retrieve deep enough to drop what each query excludes and still return ``k``.

        Each query is searched at its own depth, for an approximate index may find other documents at another: queries that
        exclude equally many are searched together.
        """
        queries = batch.queries
        excluded = np.array([len(codes) for codes in queries.exclude or [()] * len(queries)], np.int64)
        groups = [np.flatnonzero(excluded == size) for size in np.unique(excluded)]
        if len(groups) <= 1:
            found = self.search(queries, self.k + queries.max_excluded, state)
        else:
            parts = [
                self.search(queries.take(rows), self.k + int(excluded[rows[0]]), state) for rows in groups
            ]
            found = Rankings.concat(parts)
            if [len(part) for part in parts] != [len(rows) for rows in groups]:
                raise ValueError(f"{self.name}: {len(queries)} queries gave {len(found)} results")
            found = found.take(np.argsort(np.concatenate(groups)))
        return found.without(queries.exclude).top(self.k) if len(found) == len(queries) else found


class Reranker(Stage):
    """Queries, Rankings -> Rankings: gives the candidates new scores."""

    kind = "reranker"
    needs = "one"


class Fusion(Stage):
    """Rankings... -> Rankings."""

    kind = "fusion"
    needs = "many"


class Filter(Stage):
    """Rankings -> Rankings: drops hits, never adds or rescores any."""

    kind = "filter"
    needs = "one"


class QueryStage(Stage):
    """Queries (and rankings, where it says so) -> Queries: what follows in the pipeline sees the new queries.

    Class attributes:
        gives: the forms of a query that it makes: its text, or one of :mod:`irkit.stages.forms` beside it.
    """

    kind = "query"
    needs: ClassVar[Needs] = "none"
    produces = "queries"
    gives: ClassVar[tuple[str, ...]] = ("text",)
