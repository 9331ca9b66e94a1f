"""A teacher's scores of the examples: any pipeline, run over a collection of just their documents.

The documents of all sources, whole ones and parts alike, make up one collection in the store; each query's candidates are its own
documents. What a teacher knows of a collection as a whole, such as BM25's frequencies of words, it knows of these documents.
Results are kept in the store chunk by chunk, as those of experiments are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from irkit.api.workspace import Workspace
from irkit.core.errors import ConfigError, DataError
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.data.build import build_docs
from irkit.data.collection import Collection, EvalPolicy, Qrels
from irkit.data.docstore import DocStore, Document
from irkit.data.source import Table
from irkit.exec.executor import Executor
from irkit.pipeline.graph import Pipeline
from irkit.store import Recipe as StoreRecipe
from irkit.train.examples import Example
from irkit.train.sources.documents import Documents
from irkit.train.teacher.pipeline import COLUMN, completed

_ORIGIN = "training examples"


def taught(
    pipeline: Pipeline, documents: Documents, queries: Sequence[Example], workspace: Workspace
) -> tuple[list[Example], dict[str, Any]]:
    """Return the queries with the teacher's scores of their documents, and what there is to tell of it.

    Raises:
        ConfigError: when a stage reranks fewer documents than a query has.
        DataError: when the teacher scores no document at all.
    """
    wanted = [[*query.positives, *query.negatives] for query in queries]
    whole = completed(pipeline)
    given = whole is not pipeline
    node = whole.graph()
    most = max(map(len, wanted))
    for each in node.walk() if given else ():
        depth = getattr(each.stage, "depth", None)
        if each.stage.kind == "reranker" and isinstance(depth, int) and depth < most:
            message = (
                f"the teacher's {each.stage.name!r} looks at {depth} documents, and a query has up to {most}"
            )
            hint = f"set depth: {most} there, or negatives: {{keep: ...}} smaller"
            raise ConfigError.of(message, where="teacher", hint=hint)
    executor = Executor(workspace.context(_collection(documents, queries, wanted, workspace)), [node])
    found = executor.rankings(node)
    scored, missing = [], 0
    for row, (query, codes) in enumerate(zip(queries, wanted, strict=True)):
        known = dict(zip(*(each.tolist() for each in found[row]), strict=True))
        scores = tuple(_short(known[code]) if code in known else math.nan for code in codes)
        missing += sum(code not in known for code in codes)
        scored.append(replace(query, scores=scores))
    total = sum(map(len, wanted))
    if missing == total:
        hint = "take a pipeline that reranks, such as maxsim"
        raise DataError.of("the teacher gives none of the documents a score", where="teacher", hint=hint)
    facts = {
        "pipeline": pipeline.to_data(),
        "reranks": given,
        "documents": len(documents),
        "scores": total - missing,
        "missing": missing,
        "results": executor.recipe(node).key,
    }
    return scored, facts


def _collection(
    documents: Documents, queries: Sequence[Example], wanted: Sequence[Sequence[int]], workspace: Workspace
) -> Collection:
    """Return the examples as a collection: a document's code is its number, and each query has its candidates as a column."""

    def rows() -> Iterator[tuple[int, Document]]:
        for number, (title, body) in enumerate(zip(documents.titles, documents.bodies, strict=True)):
            yield number + 1, Document(f"{number:09d}", title, body)

    content = fingerprint([documents.titles, documents.bodies])
    recipe = StoreRecipe("docs", {"source": _ORIGIN, "content": content})
    table = Table(_ORIGIN, rows, len(documents))
    artifact = workspace.store.get(recipe, lambda build: build_docs(table, build))
    asked = Queries.of([query.text for query in queries]).with_column(COLUMN, wanted)
    none = np.zeros(0, np.int32)
    qrels = Qrels(offsets_of([0] * len(queries)), none, none)
    space = str(artifact.meta["content"])
    whole = fingerprint([space, asked.keys()])
    return Collection(_ORIGIN, DocStore(artifact.path), asked, qrels, EvalPolicy(), space, whole)


def _short(score: float) -> float:
    """Return a float32's shortest decimal form, which reads back as the same float32."""
    return float(str(np.float32(score)))
