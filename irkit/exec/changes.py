"""What the query stages of a pipeline did to a query, step by step, for people to read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, get_args

import numpy as np

from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.exec.executor import Executor, label_of
from irkit.pipeline.graph import Node
from irkit.stages.forms import TERMS, TOKENS, TOLD, VECTOR, spaces_of, tells_kept
from irkit.store import Build, Recipe, Store

FORMAT = 1
"""Of the stored terms; it counts up when they change."""
_FILE = "terms.json"
_WORD = re.compile(r"\S+\s*")

Cut = Callable[[str, Sequence[str]], list[list[str]]]
"""Cuts texts into the terms of the analyser of this name."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term of an expanded query.

    Attributes:
        original: whether the collection's query has it; None where nobody knows how its text is cut.
    """

    text: str
    weight: float
    original: bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage did to one query.

    Attributes:
        stage: the stage, with the options that tell it from its like.
        before: the text that it was given.
        text: the text that it left.
        terms: the weighted terms that it gave the query, the strongest first; empty where it gave it none, or left it those it had.
        told: what the stage says that it did.
        forms: what else it gave the query: ``vector``, ``tokens``.
    """

    stage: str
    before: str
    text: str
    terms: tuple[Term, ...] = ()
    told: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the query is another than before."""
        return self.text != self.before or bool(self.terms or self.forms)


def query_nodes(end: Node) -> list[Node]:
    """Return the query stages of a pipeline, in their order."""
    return [node for node in end.walk() if node.stage.produces == "queries"]


def stored_changes(end: Node, rows: Sequence[int], executor: Executor) -> list[list[Step]]:
    """Return what happened to some of the collection's queries, by their rows, as the store has it; computed where it has not."""
    store, source = executor.context.store, executor.context.collection.queries
    changed = {node: executor.queries(node).take(rows) for node in query_nodes(end)}
    return changes(source.take(rows), changed, lambda name, texts: _stored_terms(store, name, texts))


def changes(source: Queries, changed: Mapping[Node, Queries], cut: Cut | None = None) -> list[list[Step]]:
    """Return for each query what each stage did to it.

    Args:
        source: the queries before any stage.
        changed: each query stage, in order, and the queries that it left.
        cut: cuts a query's text, to tell its own terms from others'; the analysers of Lucene unless given.
    """
    steps: list[list[Step]] = [[] for _ in range(len(source))]
    for node, after in changed.items():
        before = changed[node.queries] if node.queries else source
        own = _own_terms(source, after, cut or cut_terms)
        for row, done in enumerate(steps):
            done.append(_step(label_of(node), before, after, row, own[row]))
    return steps


def marked(before: str, after: str) -> list[tuple[str, bool]]:
    """Return ``after`` in stretches of words, each with whether it is new: outside the longest that ``before`` has too."""
    old, new = (_WORD.findall(text) for text in (before, after))
    matcher = SequenceMatcher(
        a=[each.rstrip() for each in old], b=[each.rstrip() for each in new], autojunk=False
    )
    return [
        ("".join(new[start:end]), kind != "equal")
        for kind, _, _, start, end in matcher.get_opcodes()
        if end > start
    ]


def cut_terms(analyzer: str, texts: Sequence[str]) -> list[list[str]]:
    """Cut texts as Lucene's analyser of this name does. Starts Java."""
    from irkit.models.lucene.terms import TermCutter

    return TermCutter(analyzer, "the terms of the queries").terms(texts)  # type: ignore[arg-type]


def _stored_terms(store: Store, analyzer: str, texts: Sequence[str]) -> list[list[str]]:
    """Cut texts, or take their terms from the store: a run that computes nothing else starts no Java for it."""
    from irkit.models.lucene.java import anserini_version

    def write(build: Build) -> Mapping[str, Any]:
        build.path(_FILE).write_text(json.dumps(cut_terms(analyzer, texts)), encoding="ascii")
        return {"queries": len(texts)}

    spec = {"format": FORMAT, "analyzer": analyzer, "anserini": anserini_version()}
    artifact = store.get(Recipe("query-terms", {**spec, "texts": fingerprint(list(texts))}), write)
    found: list[list[str]] = json.loads((artifact.path / _FILE).read_text(encoding="ascii"))
    return found


def _own_terms(source: Queries, after: Queries, cut: Cut) -> list[frozenset[str] | None]:
    """Return the terms of the queries' own texts, as those of the weighted terms are cut; None where that is nothing of ours."""
    from irkit.models.lucene.analysis import AnalyzerName

    spaces, weights = spaces_of(after, TERMS), after.columns.get(TERMS)
    found: list[frozenset[str] | None] = [None] * len(source)
    if spaces is None or weights is None:
        return found
    for name in sorted(set(spaces) & set(get_args(AnalyzerName))):
        rows = [row for row, space in enumerate(spaces) if space == name and weights[row]]
        if rows:
            terms = cut(name, [source.text[row] for row in rows])
            for row, each in zip(rows, terms, strict=True):
                found[row] = frozenset(each)
    return found


def _step(stage: str, before: Queries, after: Queries, row: int, own: frozenset[str] | None) -> Step:
    old, new = (_value(queries, TERMS, row) for queries in (before, after))
    weighted = sorted((new or {}).items(), key=lambda each: (-abs(each[1]), each[0])) if new != old else []
    told, lines = (list(_value(queries, TOLD, row) or ()) for queries in (before, after))
    new_lines = lines[len(told) :] if lines[: len(told)] == told else lines
    given = [form for form in (VECTOR, TOKENS) if _gives(form, before, after, row)]
    if any(map(tells_kept, new_lines)):  # it has them for the others' sake: its encoded text, tokens of zeros
        given = []
    return Step(
        stage,
        before.text[row],
        after.text[row],
        tuple(Term(term, float(w), None if own is None else term in own) for term, w in weighted),
        tuple(new_lines),
        tuple(given),
    )


def _gives(form: str, before: Queries, after: Queries, row: int) -> bool:
    """Whether a stage gave a query a form, or another one than it had."""
    old, new = (_value(queries, form, row) for queries in (before, after))
    return new is not None and (old is None or not np.array_equal(new, old))


def _value(queries: Queries, column: str, row: int) -> Any:
    values = queries.columns.get(column)
    return None if values is None else values[row]
