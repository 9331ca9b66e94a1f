"""Toy query stages that change a query in every way there is, and a retriever that takes what they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from toys import Tokens, Toy

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.registry import register
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.forms import TERMS, VECTOR, rewritten, told, with_terms, with_vectors

SPACE = "porter"
CUT = "irkit.exec.changes.cut_terms"
"""What starts Java, for tests to put :func:`cut` in its place."""


class Taker(Toy):
    """``toy``, on the weighted terms of a query where it has some."""

    takes: ClassVar[tuple[str, ...]] = ("text", TERMS, VECTOR)

    def search(self, queries: Queries, depth: int, state: Tokens) -> Rankings:
        weights = queries.columns.get(TERMS, [None] * len(queries))
        texts = [
            text if each is None else " ".join(each) for text, each in zip(queries.text, weights, strict=True)
        ]
        return super().search(queries.with_text(texts), depth, state)


class Expand(QueryStage):
    """Weighs the query's words 1 and adds ``add`` with weight 2; leaves a query without the word ``only`` as it is."""

    gives: ClassVar[tuple[str, ...]] = (TERMS,)

    add: str = "e"
    only: str = ""

    def run(self, batch: Batch, state: Any) -> Queries:
        queries = batch.queries
        weights = [
            {**dict.fromkeys(text.split(), 1.0), self.add: 2.0} if self.only in text else None
            for text in queries.text
        ]
        lines = ["" if each is None else f"added {self.add}" for each in weights]
        return told(with_terms(queries, SPACE, weights), lines)


class Rewrite(QueryStage):
    """Adds words to a query's text, and says so."""

    add: str = "b"
    tell: str = "written anew"

    def run(self, batch: Batch, state: Any) -> Queries:
        texts = [f"{text} {self.add}" for text in batch.queries.text]
        return told(rewritten(batch.queries, texts), [self.tell] * len(texts))


class Embed(QueryStage):
    """Gives every query a vector, its number of characters."""

    gives: ClassVar[tuple[str, ...]] = (VECTOR,)

    def run(self, batch: Batch, state: Any) -> Queries:
        vectors = np.array([[len(text)] for text in batch.queries.text], np.float32)
        return with_vectors(batch.queries, vectors.reshape(-1, 1), "somewhere")


def register_changing() -> None:
    """Register the stages in this process."""
    stages = {"toy-taker": Taker, "toy-expand": Expand, "toy-rewrite": Rewrite, "toy-embed": Embed}
    for name, stage in stages.items():
        register(name)(stage)


def cut(analyzer: str, texts: Sequence[str]) -> list[list[str]]:
    """Stands for the analyser: what is between spaces."""
    assert analyzer == SPACE
    return [text.split() for text in texts]
