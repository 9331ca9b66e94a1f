"""BM25 on Lucene, as Anserini runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lucene.analysis import AnalyzerName
from irkit.models.lucene.index import build_index, recipe
from irkit.models.lucene.java import anserini_version
from irkit.models.lucene.search import Searcher
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION, Retriever
from irkit.stages.forms import TERMS, terms_of
from irkit.store import Build, Recipe


class State(NamedTuple):
    """What a search needs: the open index, and how many queries to run at the same time."""

    searcher: Searcher
    threads: int


class BM25(Retriever):
    """Retrieve by BM25 (Robertson et al., TREC-3) over "title body", as Lucene computes it.

    :class:`irkit.models.lucene.search.Searcher` has the formula. Scores are Lucene's, in float32; documents
    of equal score come by id, descending, also at the cutoff. The defaults are Anserini's for BEIR. An index
    is shared by all stages that differ only in ``k``, ``k1``, ``b`` and ``query_side``. Weighted terms that a stage
    before gave a query (``rm3``, say) are what is searched, in place of the text; with ``query_side`` they are refused."""

    takes: ClassVar[tuple[str, ...]] = ("text", TERMS)

    k1: float = Field(0.9, ge=0, allow_inf_nan=False, description="How slowly a term's count saturates.")
    b: float = Field(0.4, ge=0, le=1, description="How much a document's length matters.")
    analyzer: AnalyzerName = Field(
        "porter", description="How texts are cut into terms; a language's ISO 639 code, or none."
    )
    query_side: bool = Field(
        False, description="Weigh the query's terms by BM25 too, for long queries (BRIGHT's BM25)."
    )
    threads: PositiveInt | None = Field(
        None, description="Queries run at the same time.", json_schema_extra=dict(EXECUTION)
    )

    def declines(self, form: str) -> str | None:
        """Return ``query_side``, which counts the terms of a text: weighted ones have weights already."""
        return "query_side: true" if self.query_side and form == TERMS else None

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the analyser, for weighted terms."""
        return {"analyzer": self.analyzer} if form == TERMS else {}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the version of Anserini, and so of Lucene."""
        return {"anserini": anserini_version()}

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipe of the index."""
        return [recipe(context.collection.docs_fingerprint, self.analyzer)]

    def prepare(self, context: Context) -> State:
        """Open the index, built first where the store has none."""
        docs = context.collection.docs

        def build(build: Build) -> Mapping[str, Any]:
            with context.progress.task("BM25 index", len(docs)) as advance:
                return build_index(build, docs, self.analyzer, advance=advance)

        artifact = context.artifact(self.artifacts(context)[0], build)
        searcher = Searcher(
            artifact, self.analyzer, len(docs), k1=self.k1, b=self.b, query_side=self.query_side
        )
        return State(searcher, self.threads or context.runtime.threads)

    def search(self, queries: Queries, depth: int, state: State) -> Rankings:
        """Return the best ``depth`` documents of every query, exactly.

        Raises:
            ConfigError: for weighted terms of another analyser, and for any with ``query_side``.
        """
        weights = terms_of(queries, self.analyzer)
        if self.query_side and any(each is not None for each in weights):
            hint = "leave query_side out, or put reset before bm25"
            raise ConfigError.of(
                "query_side: true weighs a text, and a query has weighted terms", where="bm25", hint=hint
            )
        given = np.flatnonzero([each is not None for each in weights])
        rest = np.flatnonzero([each is None for each in weights])
        parts = [
            state.searcher.search([queries.text[row] for row in rest], depth, threads=state.threads),
            state.searcher.search_terms(
                [each for each in weights if each is not None], depth, threads=state.threads
            ),
        ]
        return (
            Rankings.concat(parts).take(np.argsort(np.concatenate([rest, given]))) if len(given) else parts[0]
        )
