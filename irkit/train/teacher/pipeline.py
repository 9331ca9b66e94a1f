"""A teacher's pipeline: what it starts from, and how it goes together."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from irkit.core.errors import Place
from irkit.core.rankings import Rankings
from irkit.pipeline.graph import Pipeline, Problems, Step, compile_pipeline
from irkit.pipeline.stage import Batch, Needs, Stage

COLUMN = "candidates"
"""The column of the queries that holds the codes of the documents to be scored: part of the key of a query's results."""


class Candidates(Stage):
    """Give each query the documents that its column names, all with the score 0: what a teacher of rerankers starts from."""

    name: ClassVar[str] = "candidates"
    origin: ClassVar[str] = "irkit.train.teacher.pipeline:Candidates"
    kind: ClassVar[str] = "retriever"
    needs: ClassVar[Needs] = "none"

    def run(self, batch: Batch, state: Any) -> Rankings:
        """Return the column as rankings."""
        codes = [np.array(each, np.int32) for each in batch.queries.columns[COLUMN]]
        return Rankings.from_lists(codes, [np.zeros(len(each), np.float32) for each in codes])


def completed(pipeline: Pipeline) -> Pipeline:
    """Return a teacher's pipeline with the candidates before it; itself where it retrieves on its own."""
    return Pipeline((Step(Candidates()), *pipeline.steps)) if _takes_candidates(pipeline) else pipeline


def teacher_misfits(pipeline: Pipeline, at: Place) -> Problems:
    """Return what does not go together in a teacher's pipeline: (place, message, hint) of each."""
    whole, found, depth = completed(pipeline), Problems(), len(at)
    compile_pipeline(whole, found, at)
    added = len(whole.steps) - len(pipeline.steps)

    def place(path: Place) -> Place:
        step = path[depth] if len(path) > depth else None
        return (*path[:depth], step - added, *path[depth + 1 :]) if isinstance(step, int) else path

    return [(place(path), message, hint) for path, message, hint in found]


def _takes_candidates(pipeline: Pipeline) -> bool:
    """Whether the first stage that needs or makes rankings works on given ones."""
    for step in pipeline.steps:
        if step.stage.needs == "many":
            return any(map(_takes_candidates, step.of))
        if step.stage.needs != "none":
            return True
        if step.stage.produces == "rankings":
            return False
    return False
