"""Queries that a language model expands or replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from irkit.core.errors import ConfigError, Problem
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.docstore import DocStore
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.authors import Author
from irkit.stages.forms import ORIGINAL, rewritten, told
from irkit.stages.query.reformulation.method import Form, Method, Request, Target, plain
from irkit.stages.query.reformulation.methods import METHODS
from irkit.stages.writing import Llm, WriterOptions

Task = Literal["web-search", "scifact", "arguana", "trec-covid", "fiqa", "dbpedia-entity", "trec-news"]


@dataclass(frozen=True)
class WritingState:
    """What ``prepare`` opens: where texts come from, and the documents."""

    author: Author
    docs: DocStore


class Reformulate(QueryStage):
    """Have a language model expand a query, or take a text of a file for it.

    Prompts, numbers of texts and weights are the published ones of each method, in :mod:`irkit.stages.query.reformulation`; so is
    the sampling of hyde, query2doc and cot, while that of genqr and mugi is irkit's. What was written is kept in the store: a
    rerun, and any other stage with the same prompts, pays nothing. A blank query stays as it is. A file is looked up by the query
    that a pipeline began with; queries of one text must have the same texts there.
    """

    needs = "optional"
    cache_version: ClassVar[int] = 2
    chunk: ClassVar[int] = 64

    method: Literal["genqr", "genqr-ensemble", "hyde", "query2doc", "mugi", "cot", "replace"] = "query2doc"
    """``replace`` takes the texts of ``llm.file`` for the query."""
    llm: Llm = WriterOptions()
    """Who writes: see there."""
    target: Target = "sparse"
    """Whether the new query is for a retriever that counts words or for one that encodes it; only query2doc and mugi differ."""
    repeat: NonNegativeInt | None = Field(default=None, le=100)
    """How often the query stands before the texts; as published unless given: once for genqr and hyde, 5 times for query2doc, by
    the length of the texts for mugi, never for cot and replace."""
    texts: PositiveInt | None = Field(default=None, le=1000)
    """Texts for every prompt; as published unless given: 8 for hyde, 5 for mugi, else 1."""
    instruction: int = Field(default=1, ge=1, le=10)
    """Which of the ten instructions genqr gives; genqr-ensemble gives all."""
    task: Task = "web-search"
    """What kind of passage hyde asks for: its prompts by data set."""
    examples: tuple[tuple[str, str], ...] = ()
    """Pairs of a query and its passage that query2doc shows. The paper shows four from MS MARCO's training set; without any it is
    zero-shot."""
    separator: str = "[SEP]"
    """What query2doc with ``target: dense`` writes between query and passage: the separator of the encoder that follows. This is
    that of BERT; RoBERTa's is ``</s>``."""
    adaptive: PositiveInt = 5
    """Of mugi: a smaller number repeats the query more often."""
    fb_docs: NonNegativeInt | None = None
    """Documents that genqr and genqr-ensemble read when they follow a retriever; 5 unless given, 0 for none."""
    words: PositiveInt = 128
    """Of each of those documents that are read."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.target not in self.published.targets:
            raise ValueError("hyde makes a vector for dense retrieval: take the stage hyde")
        if self.method == "replace" and self.llm.file is None:
            raise ValueError("replace takes its texts from a file: llm: {file: texts.jsonl}")
        if self.fb_docs and not self.published.feedback:
            raise ValueError(f"{self.method} reads no documents: fb_docs is for genqr and genqr-ensemble")
        if self.separator != "[SEP]" and (self.method, self.target) != ("query2doc", "dense"):
            raise ValueError("separator is for query2doc with target: dense")
        return self

    @property
    def published(self) -> Method:
        """The method as it was published."""
        return METHODS[self.method]

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a result."""
        return {**super().meaning(), "llm": self.llm.meaning()}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions, or the digest of the file."""
        return self.llm.identity(context, ids_of(context.collection.queries))

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the file of texts."""
        return self.llm.faults(base)

    def prepare(self, context: Context) -> WritingState:
        """Open the file of texts, or get ready to ask.

        Raises:
            ConfigError: when the environment lacks the endpoint's key.
            DataError: when the file cannot be read, lacks a query of the collection, or has different texts for queries of one
                text.
        """
        if self.method == "query2doc" and self.llm.file is None and not self.examples:
            context.notes["query2doc"] = "zero-shot; the paper shows four examples"
        author = self.llm.open(context, ids_of(context.collection.queries))
        return WritingState(author, context.collection.docs)

    def run(self, batch: Batch, state: WritingState) -> Queries:
        """Return the queries with their new texts.

        Raises:
            ModelError: when the model cannot be had or does not answer; texts that were written are kept.
        """
        queries = batch.queries
        contexts = self._contexts(batch.upstream, len(queries), state.docs)
        prompts = [
            self.published.ask(Request(text, context, self.instruction, self.task, self.examples))
            if text.strip()
            else []
            for text, context in zip(queries.text, contexts, strict=True)
        ]
        found = state.author.texts(
            queries.columns.get(ORIGINAL, queries.text),
            prompts,
            self.texts or self.published.count,
            self.llm.sampling(self.published.sampling),
        )
        form = Form(self.target, self.repeat, self.adaptive, self.separator)
        composed = [
            self.published.compose(text, texts, form) if texts else text
            for text, texts in zip(queries.text, found, strict=True)
        ]
        lines = [self._line(texts) if texts else "" for texts in found]
        return told(rewritten(queries, composed), lines)

    def _contexts(self, upstream: Sequence[Rankings], count: int, docs: DocStore) -> list[str | None]:
        """Return for each query the texts of its first documents, a line each; None where none are read."""
        wanted = self.published.feedback if self.fb_docs is None else self.fb_docs
        if self.fb_docs and not upstream:
            raise ConfigError.of(
                "fb_docs needs documents to read",
                where=self.name,
                hint="put a retriever such as bm25 before it",
            )
        if not wanted or not upstream:
            return [None] * count
        tops = [codes[:wanted] for codes, _ in upstream[0]]
        return [
            "\n".join(first_words(docs.text(int(code)), self.words) for code in codes) if len(codes) else None
            for codes in tops
        ]

    def _line(self, texts: Sequence[str]) -> str:
        words = sum(len(text.split()) for text in texts)
        start = plain(texts[0])
        start = f"{start[:80]}..." if len(start) > 80 else start
        number = "a text" if len(texts) == 1 else f"{len(texts)} texts"
        return f"{self.name} {self.method}: {number} of {words} words: {start}"


def ids_of(queries: Queries) -> dict[str, list[str]]:
    """Return the ids of queries by their texts, blank ones left out: files of texts know ids, stages may look at texts alone."""
    found: dict[str, list[str]] = {}
    for qid, text in sorted(zip(queries.qid, queries.text, strict=True)):
        if text.strip():
            found.setdefault(text, []).append(qid)
    return found


def first_words(text: str, count: int) -> str:
    """Return the first words of a text, on one line."""
    return " ".join(text.split(None, count)[:count])
