"""PromptPRF: feedback by what a language model says of documents, whatever the query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from irkit.core.errors import Problem
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray
from irkit.data.docstore import DocStore
from irkit.models.writers.writer import Prompt, Sampling
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION, Batch
from irkit.stages.authors import Author
from irkit.stages.forms import rewritten, told
from irkit.stages.query.feedback import FeedbackStage
from irkit.stages.query.reformulate import first_words
from irkit.stages.query.reformulation.method import filled, plain
from irkit.stages.query.reformulation.prompts import FEATURE, FEATURES, FEEDBACK
from irkit.stages.writing import Llm, WriterOptions

Feature = Literal["keywords", "entities", "summary", "cot-keywords", "essay", "facts", "queries"]

_USUAL = Sampling(temperature=0.0, top_p=1.0, max_tokens=128)
_AHEAD = 256
"""Documents whose features are asked for at a time when the whole collection is worked through."""


class PromptPrf(FeedbackStage):
    """Add to a query what a language model said of its first documents (PromptPRF: Li et al., 2025, arXiv 2503.14887).

    What it says of a document, its feature, does not depend on the query: it is written once and kept in the store, for this
    collection, any other and any query. The query becomes a text of three parts: itself, the name of the feature, and the features
    of its documents, best first, for a retriever that encodes it (or counts its words). The kinds of features are the paper's, the
    wordings of the prompts irkit's.
    """

    cache_version: ClassVar[int] = 2
    chunk: ClassVar[int] = 64

    feature: Feature = "keywords"
    """What is asked about a document."""
    llm: Llm = WriterOptions()
    """Who writes: see there. A file goes by the ids of documents."""
    fb_docs: NonNegativeInt = 3
    words: PositiveInt = 300
    """Of a document, title included, that the language model reads."""
    ahead: bool = Field(default=False, json_schema_extra=dict(EXECUTION))
    """Have the features of all documents written first, so that no query waits for one; else those of feedback documents alone."""

    @model_validator(mode="after")
    def _texts_belong_to_documents(self) -> Self:
        if self.llm.by == "text":
            raise ValueError("by: text is for texts of queries; those of documents go by their ids: by: id")
        return self

    def meaning(self) -> dict[str, Any]:
        """Return the options that can change a result."""
        return {**super().meaning(), "llm": self.llm.meaning()}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions, or the digest of the file."""
        return self.llm.identity(context)

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the file of texts."""
        return self.llm.faults(base)

    def prepare(self, context: Context) -> tuple[Author, Context]:
        """Get ready to ask; with ``ahead``, have all features written.

        Raises:
            ConfigError: when the environment lacks the endpoint's key.
            DataError: when the file cannot be read.
            ModelError: when the model cannot be had or does not answer; texts that were written are kept.
        """
        author = self.llm.open(context)
        docs = context.collection.docs
        if self.ahead and self.llm.file is None:
            for start in range(0, len(docs), _AHEAD):
                self._features(np.arange(start, min(start + _AHEAD, len(docs)), dtype=np.int32), author, docs)
        return author, context

    def run(self, batch: Batch, state: tuple[Author, Context]) -> Queries:
        """Return the queries with the features of their first documents.

        Raises:
            ModelError: when the model cannot be had or does not answer; texts that were written are kept.
        """
        author, context = state
        queries, rankings = batch.queries, batch.rankings
        believed = self.believed(rankings, context)
        tops = [
            codes[: self.fb_docs] if yes else codes[:0]
            for (codes, _), yes in zip(rankings, believed, strict=True)
        ]
        wanted = np.unique(np.concatenate([*tops, np.empty(0, np.int32)]))
        features = self._features(wanted, author, context.collection.docs)
        said = [[text for code in top.tolist() if (text := features[code])] for top in tops]
        both = list(zip(queries.text, said, strict=True))
        texts = [
            filled(FEEDBACK, query=text, label=self.feature.capitalize(), features="\n".join(each))
            if each
            else text
            for text, each in both
        ]
        lines = [
            f"prompt-prf: {self.feature} of {len(each)} documents: {each[0][:80]}" if each else reason
            for each, reason in zip(said, self.kept("prompt-prf", rankings, believed), strict=True)
        ]
        return told(rewritten(queries, texts), lines)

    def _features(self, codes: CodeArray, author: Author, docs: DocStore) -> dict[int, str]:
        """Return the feature of each document, on one line; that of an empty document is empty, and nobody is asked for it."""
        texts = [first_words(docs.text(int(code)), self.words) for code in codes]
        prompts = [
            [Prompt(filled(FEATURE, instruction=FEATURES[self.feature], document=text))] if text else []
            for text in texts
        ]
        found = author.texts(docs.docnos(codes), prompts, 1, self.llm.sampling(_USUAL))
        return {int(code): plain(each[0]) if each else "" for code, each in zip(codes, found, strict=True)}
