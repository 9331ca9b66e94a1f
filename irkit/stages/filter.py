"""``cutoff`` and ``filter``: stages that drop hits and change nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from irkit.core.errors import ConfigError, Problem
from irkit.core.rankings import CodeArray, Rankings
from irkit.data.docstore import DocStore
from irkit.pipeline import stage
from irkit.pipeline.context import Context


class Cutoff(stage.Filter):
    """Keep the first ``k`` hits of every query."""

    k: PositiveInt

    def run(self, batch: stage.Batch, state: Any) -> Rankings:
        """Cut."""
        return batch.rankings.top(self.k)


@dataclass(frozen=True)
class _Codes:
    include: CodeArray | None
    exclude: CodeArray | None


class Filter(stage.Filter):
    """Keep the hits that satisfy every condition that is given. Scores and their order stay as they are."""

    min_score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The lowest score (as float32) to keep."""
    include: tuple[str, ...] | None = None
    """Keep these documents only, by id."""
    exclude: tuple[str, ...] | None = None
    """Drop these documents, by id."""

    @model_validator(mode="after")
    def _does_something(self) -> Filter:
        if self.min_score is None and self.include is None and not self.exclude:
            raise ValueError("filter drops nothing: give min_score, include or exclude")
        both = sorted(set(self.include or ()) & set(self.exclude or ()))
        if both:
            raise ValueError(f"document {both[0]!r} is in include and in exclude")
        return self

    def prepare(self, context: Context) -> _Codes:
        """Look up the documents.

        Raises:
            ConfigError: when the collection lacks any of them.
        """
        docs = context.collection.docs
        problems: list[Problem] = []
        found = {
            option: None if ids is None else _resolve(option, ids, docs, problems)
            for option, ids in (("include", self.include), ("exclude", self.exclude))
        }
        if problems:
            raise ConfigError(*problems)
        return _Codes(found["include"], found["exclude"])

    def run(self, batch: stage.Batch, state: _Codes) -> Rankings:
        """Drop what does not satisfy the conditions."""
        rankings = batch.rankings
        keep: NDArray[np.bool_] = np.ones(len(rankings.doc), dtype=np.bool_)
        if self.min_score is not None:
            keep &= rankings.score >= np.float32(self.min_score)
        if state.include is not None:
            keep &= np.isin(rankings.doc, state.include)
        if state.exclude is not None:
            keep &= ~np.isin(rankings.doc, state.exclude)
        return rankings if keep.all() else rankings.where(keep)


def _resolve(option: str, ids: tuple[str, ...], docs: DocStore, problems: list[Problem]) -> CodeArray:
    codes = {docno: docs.code(docno) for docno in ids}
    unknown = [docno for docno, code in codes.items() if code is None]
    if unknown:
        shown = ", ".join(repr(docno) for docno in unknown[:5]) + (
            f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        )
        problems.append(
            Problem(
                f"the collection has no document {shown}",
                f"filter.{option}",
                "document ids are compared letter by letter",
            )
        )
    return np.array(sorted(code for code in codes.values() if code is not None), dtype=np.int32)
