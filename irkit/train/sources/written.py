"""Queries that a language model writes for documents, after examples (Promptagator: Dai et al., 2022, arXiv 2209.11755).

The prompt shows some of the collection's judged queries with their documents, then the document that wants one. What is written
stays only if a pipeline finds its document again (the paper's round-trip filter, section 3.2). The texts are kept in the store as
those of the stage ``reformulate`` are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.draws import Draws
from irkit.models.writers.writer import Prompt, Sampling
from irkit.pipeline.context import Context
from irkit.stages.writing import WriterOptions
from irkit.train.sources.options import DataSource

SAMPLING = Sampling(temperature=0.7, top_p=1.0, max_tokens=64)
"""The temperature is the paper's (section 4.1)."""
SHOT_WORDS, DOCUMENT_WORDS = 80, 250
"""Of a document so many words stand in the prompt: of an example, and of the one that wants a query."""
QUERY_WORDS = (2, 48)
"""The fewest and the most words of a query that is of use."""
_SYSTEM = (
    "You write search queries. Read the last passage and write one query that it answers, in the style of the examples. "
    "Answer with the query alone."
)
_ASKED = "What is this text about? Answer in one short sentence."
_ABOUT = re.compile(
    r"^(this|the) (text|passage|article|paper|study) (is|was) about (a study (on|of) )?", re.IGNORECASE
)
_LABELS = ("query:", "search query:", "question:")


@dataclass(frozen=True)
class WrittenQueries:
    """(code of the document, query) of each, who wrote them, and how many examples the prompt had."""

    queries: list[tuple[int, str]]
    writer: dict[str, Any]
    shots: int


def written_queries(
    context: Context, source: DataSource, seed: int, codes: Sequence[int], skipped: Counter[str]
) -> WrittenQueries:
    """Have queries written for the first documents of ``codes``, as many as the source says.

    Args:
        context: of the collection.
        source: writer, examples and number.
        seed: of the examples' draw.
        codes: in the order of the draw; documents without text are passed over.
        skipped: counts, by reason, the texts that are of no use.

    Raises:
        IrkitError: when the texts cannot be had; those that were written are kept.
    """
    collection, options = context.collection, source.writer or WriterOptions()
    drawn = [code for code in codes if collection.docs.text(code).strip()][: source.queries]
    shots = _shots(collection, source.shots, seed)
    prompts = [[prompt(shots, collection.docs.text(code))] for code in drawn]
    author = options.open(context)
    texts = author.texts(collection.docs.docnos(drawn), prompts, 1, options.sampling(SAMPLING))
    shown = {query.casefold() for query, _ in shots}
    found = list[tuple[int, str]]()
    for code, each in zip(drawn, texts, strict=True):
        query = cleaned(each[0])
        low, high = QUERY_WORDS
        if not low <= len(query.split()) <= high:
            skipped["no query was written"] += 1
        elif query.casefold() in shown:
            skipped["an example was written once more"] += 1
        else:
            found.append((code, query))
    return WrittenQueries(found, options.meaning(), len(shots))


def prompt(shots: Sequence[tuple[str, str]], document: str) -> Prompt:
    """Return what is asked: the examples, (query, document) each, then the document that wants a query; without examples what the
    document is about, which small models can tell where they only repeat examples.
    """
    if not shots:
        return Prompt(f"{_cut(document, DOCUMENT_WORDS)}\n\n{_ASKED}")
    blocks = [f"Passage: {_cut(text, SHOT_WORDS)}\nQuery: {' '.join(query.split())}" for query, text in shots]
    return Prompt("\n\n".join([*blocks, f"Passage: {_cut(document, DOCUMENT_WORDS)}\nQuery:"]), _SYSTEM)


def cleaned(text: str) -> str:
    """Return the query in what was written: its first line with words, without a label and quotes."""
    for line in text.splitlines():
        query = " ".join(line.split())
        for label in _LABELS:
            if query.casefold().startswith(label):
                query = query[len(label) :].strip()
        query = _ABOUT.sub("", query.strip("\"'`“”*").strip(), count=1)
        if query:
            return query
    return ""


def round_trip(found: Rankings, codes: Sequence[int], rank: int) -> list[int]:
    """Return the rows of the queries whose own document is among the best ``rank`` of their rankings."""
    return [row for row, code in enumerate(codes) if code in found[row][0][:rank]]


def _shots(collection: Collection, count: int, seed: int) -> list[tuple[str, str]]:
    """Draw judged queries, each with the first of its relevant documents of the highest gain."""
    rows = []
    for row, text in enumerate(collection.queries.text):
        codes, gains = collection.qrels[row]
        known = (gains > 0) & (codes < len(collection.docs))
        if text.strip() and known.any():
            best = int(codes[known][gains[known].argmax()])
            if collection.docs.text(best).strip():
                rows.append((text, best))
    draws = Draws(f"irkit train {seed} shots of {collection.name}")
    drawn = draws.sample(rows, min(count, len(rows)))
    return [(text, collection.docs.text(code)) for text, code in drawn]


def _cut(text: str, words: int) -> str:
    return " ".join(text.split()[:words])
