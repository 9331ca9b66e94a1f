"""HyDE: a vector of passages that a language model makes up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveInt

from irkit.core.errors import Problem
from irkit.core.queries import Queries
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.authors import Author
from irkit.stages.forms import ORIGINAL, told, with_vectors
from irkit.stages.query.reformulate import Task, ids_of
from irkit.stages.query.reformulation.method import Request
from irkit.stages.query.reformulation.passages import HYDE_METHOD
from irkit.stages.query.vectors import VectorOptions, VectorSpace
from irkit.stages.sentence_vectors import scaled
from irkit.stages.writing import Llm, WriterOptions


@dataclass(frozen=True)
class HydeState:
    """What ``prepare`` opens: where passages come from, and the space of the vectors."""

    author: Author
    space: VectorSpace


class Hyde(VectorOptions, QueryStage):
    """Give a query the mean of its vector and those of passages that a language model wrote as answers (HyDE: Gao et al., 2023,
    arXiv 2212.10496, eq. 8), for ``dense`` with the same encoder.

    Passages are encoded as documents are, the query as queries are; where the model compares by cosine each has length 1, and the
    mean is not brought to length 1 again, as in the released code. A query that has a vector already goes in with that one. A
    blank query keeps its own.
    """

    cache_version: ClassVar[int] = 2
    chunk: ClassVar[int] = 64

    llm: Llm = WriterOptions()
    """Who writes: see there."""
    passages: PositiveInt = 8
    """How many are written for a query."""
    task: Task = "web-search"
    """What kind of passage is asked for: the published prompts by data set."""

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a result."""
        return {**super().meaning(), "llm": self.llm.meaning()}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the fingerprints of both models, or the digest of the file, and the libraries' versions."""
        llm = self.llm.identity(context, ids_of(context.collection.queries))
        return {"encoder": super().identity(context), "llm": llm}

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the file of texts."""
        return self.llm.faults(base)

    def prepare(self, context: Context) -> HydeState:
        """Load the encoder; open the file of texts, or get ready to ask.

        Raises:
            ModelError: when the encoder cannot be loaded.
            ConfigError: when the environment lacks the endpoint's key.
            DataError: when the file cannot be read, lacks a query of the collection, or has different texts for queries of one
                text.
        """
        author = self.llm.open(context, ids_of(context.collection.queries))
        return HydeState(author, self.space(context, self.load_encoder(context)))

    def run(self, batch: Batch, state: HydeState) -> Queries:
        """Return the queries with their vectors, ``float32[Q, dim]``.

        Raises:
            ModelError: when the model cannot be had or does not answer; texts that were written are kept.
        """
        queries = batch.queries
        asked = [
            HYDE_METHOD.ask(Request(text, task=self.task)) if text.strip() else [] for text in queries.text
        ]
        found = state.author.texts(
            queries.columns.get(ORIGINAL, queries.text),
            asked,
            self.passages,
            self.llm.sampling(HYDE_METHOD.sampling),
        )
        space = state.space
        own = space.of(queries)
        every = [text for texts in found for text in texts]
        if not every:
            return with_vectors(queries, own, space.key)
        written = scaled(space.encoder.vectors(every, "document"), space.cosine)
        vectors = np.array(own, np.float32)
        start = 0
        for row, texts in enumerate(found):
            part = written[start : start + len(texts)]
            start += len(texts)
            if texts:
                vectors[row] = (own[row].astype(np.float64) + part.sum(0, dtype=np.float64)) / (
                    1 + len(texts)
                )
        lines = [f"hyde: the mean of the query and {len(texts)} passages" if texts else "" for texts in found]
        return told(with_vectors(queries, vectors, space.key), lines)
