"""What the lexical stages of pseudo-relevance feedback share: the forward index, and weighted terms in place of a text.

They follow Anserini 1.7.1, whose arithmetic is in single precision, and break ties where it does: among documents, those of the
ranking that they are given; among terms, the order of Java's strings. So where Anserini is given the same documents, it searches
for the same terms with the same weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, ScoreArray
from irkit.models.lucene.analysis import AnalyzerName
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION, Batch
from irkit.stages.forms import TERMS, Weights, kept, terms_of, told, with_terms
from irkit.stages.query.feedback import FeedbackStage
from irkit.store import Build, Recipe

if TYPE_CHECKING:
    from irkit.models.lucene.forward import ForwardIndex, Ids
    from irkit.models.lucene.terms import TermCutter

Floats = NDArray[np.float32]
COMMON = np.float32(0.1)
"""A term in more than this part of the documents is no feedback: Anserini's stand-in for stop words."""


class State(NamedTuple):
    """What expansion reads.

    Attributes:
        forward: the documents' terms.
        cutter: cuts the queries.
        usable: ``bool[V]``: which terms the stage takes from documents.
        threads: queries cut at the same time.
        context: where the gate counts.
    """

    forward: ForwardIndex
    cutter: TermCutter
    usable: NDArray[np.bool_]
    threads: int
    context: Context


class LexicalFeedback(FeedbackStage):
    """A feedback stage that gives a query weighted terms, for a later ``bm25`` with the same analyzer.

    The query is its text, cut into terms, or the weighted terms that an earlier stage gave it. Documents may come from any stage.
    All such stages share one forward index of a collection.
    """

    takes: ClassVar[tuple[str, ...]] = ("text", TERMS)
    gives: ClassVar[tuple[str, ...]] = (TERMS,)
    cache_version: ClassVar[int] = 2

    analyzer: AnalyzerName = Field(
        "porter", description="How texts are cut: that of the bm25 stage after it."
    )
    threads: PositiveInt | None = Field(
        None, description="Texts cut at the same time.", json_schema_extra=dict(EXECUTION)
    )

    @abstractmethod
    def usable(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """Return which terms may be taken from documents, ``bool[V]``."""

    @abstractmethod
    def expand(
        self, query: Weights, docs: CodeArray, scores: ScoreArray, state: State
    ) -> dict[str, float] | None:
        """Return the terms to search for, with their weights; None where the documents give nothing.

        Args:
            query: the query's terms and how often it has each, or their weights.
            docs: what the stage before found, at least one document, best first.
            scores: their scores.
            state: what ``prepare`` returned.
        """

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the analyser, for weighted terms."""
        return {"analyzer": self.analyzer} if form == TERMS else {}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the version of Anserini, whose analysers cut the queries."""
        from irkit.models.lucene.java import anserini_version

        return {"anserini": anserini_version()}

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipe of the forward index."""
        from irkit.models.lucene.forward import forward_recipe

        return [forward_recipe(context.collection.docs_fingerprint, self.analyzer)]

    def prepare(self, context: Context) -> State:
        """Open the forward index, built first where the store has none."""
        from irkit.models.lucene.forward import ForwardIndex, build_forward
        from irkit.models.lucene.terms import TermCutter

        docs, threads = context.collection.docs, self.threads or context.runtime.threads

        def build(build: Build) -> Mapping[str, Any]:
            with context.progress.task("Forward index", len(docs)) as advance:
                return build_forward(build, docs, self.analyzer, threads=threads, advance=advance)

        artifact = context.artifact(self.artifacts(context)[0], build)
        index = ForwardIndex(artifact, len(docs))
        return State(
            index, TermCutter(self.analyzer, str(artifact.path)), self.usable(index), threads, context
        )

    def run(self, batch: Batch, state: State) -> Queries:
        """Expand the queries whose documents are believed; leave the others exactly as they are."""
        queries, rankings = batch.queries, batch.rankings
        believed = self.believed(rankings, state.context)
        weights = terms_of(queries, self.analyzer)
        lines = self.kept(self._label, rankings, believed)
        rows = np.flatnonzero(believed).tolist()
        cut = state.cutter.terms([queries.text[row] for row in rows], threads=state.threads)
        for row, terms in zip(rows, cut, strict=True):
            docs, scores = rankings[row]
            given = weights[row]
            expanded = self.expand(Counter(terms) if given is None else given, docs, scores, state)
            if expanded is not None:
                weights[row] = expanded
            lines[row] = self._line(min(len(docs), self.fb_docs), expanded)
        return told(with_terms(queries, self.analyzer, weights), lines)

    @property
    def _label(self) -> str:
        return type(self).__name__.lower()

    def _line(self, documents: int, expanded: Weights | None) -> str:
        if expanded is None:
            return kept(self._label, f"{documents} documents have no term to add")
        return f"{self._label}: {documents} documents, {len(expanded)} terms"


def uncommon(index: ForwardIndex) -> NDArray[np.bool_]:
    """Return which terms are in at most a tenth of all documents, ``bool[V]``."""
    return np.asarray(index.df.astype(np.float32) / np.float32(len(index)) <= COMMON)


def bag(index: ForwardIndex, code: int, usable: NDArray[np.bool_]) -> tuple[Ids, Floats]:
    """Return a document's usable terms and their counts."""
    ids, tf = index[code]
    keep = usable[ids]
    return ids[keep], tf[keep].astype(np.float32)


def best(ids: Ids, values: Floats, n: int) -> tuple[Ids, Floats]:
    """Return the ``n`` terms of the highest values, ties in the order of Java's strings; ``ids`` ascend."""
    if len(ids) <= n:
        return ids, values
    order = np.argsort(-values, kind="stable")[:n]
    return ids[order], values[order]


def summed(parts: list[tuple[Ids, Floats]]) -> tuple[Ids, Floats]:
    """Return the terms of all documents, ascending, and the sums of their values, in float32 and in the documents' order."""
    ids, where = np.unique(np.concatenate([part for part, _ in parts]), return_inverse=True)
    total = np.zeros(len(ids), np.float32)
    np.add.at(total, where, np.concatenate([values for _, values in parts]))
    return ids, total


def scaled(values: Floats, norm: float) -> Floats:
    """Return the values over their norm; where that is zero there is nothing to scale."""
    return (values.astype(np.float64) / norm).astype(np.float32) if norm else values


def l1(values: Floats) -> float:
    """Return the sum of the absolute values."""
    return float(np.abs(values.astype(np.float64)).sum())


def l2(values: Floats) -> float:
    """Return the Euclidean norm."""
    return float(np.sqrt(np.square(values.astype(np.float64)).sum()))


def vector(weights: Weights) -> tuple[list[str], Floats]:
    """Return a query's terms, and their weights as an array."""
    return list(weights), np.fromiter(weights.values(), np.float32, len(weights))


def named(index: ForwardIndex, ids: Ids, values: Floats) -> dict[str, np.float32]:
    """Return terms and their values by name."""
    return dict(zip(index.terms.many(ids), values, strict=True))
