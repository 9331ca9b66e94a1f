"""Running a stage, and checking what it returns before anything is stored or shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from irkit.core.errors import IrkitError, StageError
from irkit.core.queries import Queries
from irkit.core.rankings import HitError, Rankings
from irkit.data.docstore import DocStore
from irkit.exec.results import Result
from irkit.pipeline.stage import Batch, Stage

_AUTHOR = "this is a mistake in the stage; irkit.testing.check_stage shows such mistakes to its author"
_MODEL = (
    "is the model sound, and do its scores fit its number format? half precision overflows, float32 does not"
)


def run_stage(stage: Stage, batch: Batch, state: Any, docs: DocStore) -> Result:
    """Run a stage on a batch.

    Raises:
        StageError: when it returns what it does not declare, results for other queries, rankings that are not sound
            (scores that are not finite, a document twice, unknown documents, another than the canonical order), or
            a document that its query excludes.
    """
    try:
        result = stage.run(batch, state)
        _check(stage, result, batch.queries, len(docs))
    except HitError as error:
        # Rankings of so many queries are the batch's; of another number they are a part that only the stage knows
        query = f", query {batch.queries.qid[error.query]!r}" if error.of == len(batch.queries) else ""
        known = f", document {docs.docno(error.doc)!r}" if error.doc < len(docs) else ""
        message, hint = "the document is returned more than once", _AUTHOR
        if error.score is not None:
            message, hint = f"the score is {error.score}", _MODEL
        raise StageError.of(message, where=f"stage {stage.name!r}{query}{known}", hint=hint) from error
    except IrkitError:
        raise
    except Exception as error:
        error.add_note(f"in the stage {stage.name!r}")
        raise
    return result


def _check(stage: Stage, result: Any, queries: Queries, n_docs: int) -> None:
    wanted = Rankings if stage.produces == "rankings" else Queries
    if not isinstance(result, wanted):
        raise _mistake(stage, f"it returned {type(result).__name__}, it declares {wanted.__name__}")
    if len(result) != len(queries):
        raise _mistake(stage, f"it returned results for {len(result)} of {len(queries)} queries")
    if isinstance(result, Rankings):
        _check_rankings(stage, result, queries, n_docs)
    elif result.qid != queries.qid:
        raise _mistake(stage, "it changed the ids of the queries")


def _check_rankings(stage: Stage, result: Rankings, queries: Queries, n_docs: int) -> None:
    if len(result.doc) and not 0 <= int(result.doc.min()) <= int(result.doc.max()) < n_docs:
        codes = f"{result.doc.min()} to {result.doc.max()}"
        raise _mistake(
            stage, f"it returned document codes from {codes}; the collection has 0 to {n_docs - 1}"
        )
    try:
        sound = Rankings.build(result.offsets, result.doc, result.score)
    except HitError:
        raise
    except ValueError as error:
        raise _mistake(stage, f"its rankings cannot be read: {error}") from error
    if sound != result:
        raise _mistake(stage, "its rankings are not ordered by score and document, descending")
    if queries.exclude and result.without(queries.exclude) is not result:
        rows = [row for row, codes in enumerate(queries.exclude) if np.isin(result[row][0], codes).any()]
        raise _mistake(stage, f"it returned a document that the query {queries.qid[rows[0]]!r} excludes")


def _mistake(stage: Stage, message: str) -> StageError:
    return StageError.of(message, where=f"stage {stage.name!r}", hint=_AUTHOR)
