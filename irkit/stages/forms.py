"""Forms of a query besides its text: weighted terms, a vector, further token vectors. Query stages make them, retrievers take them.

A form is a column of :class:`irkit.core.queries.Queries`, with the space in which it means anything: an analyser's terms, the
vectors of an index. A retriever refuses a form of another space, for it would mean something else there. A query whose text is
replaced loses its forms: they were made of the old one.

Which queries have vectors and tokens is one for all: there is no row of none. So a stage that gives texts anew drops them of every
query, also of one whose text it leaves as it is: whether the others' texts change may not decide what happens to it. Terms stay
with such a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries

TERMS, VECTOR, TOKENS = "terms", "vector", "tokens"
"""Weighted terms for a lexical index; one vector; token vectors beside those of the text."""
TOLD, ORIGINAL = "told", "original"
"""Columns: what the stages say that they did to a query, and the text that it began with."""

_SPACE = "space of its "
_KEPT = re.compile(r"[\w-]+: the query as it was, for ")
Weights = Mapping[str, float]
Floats = NDArray[np.float32]

_OF = {
    TERMS: ("weighted terms", "give both stages the same analyzer"),
    VECTOR: ("vector", "give both stages the same model, dtype, max_length, document_prompt and similarity"),
    TOKENS: ("token vectors", "give both stages the same model and the same tokens"),
}


def with_terms(queries: Queries, analyzer: str, weights: Sequence[Weights | None]) -> Queries:
    """Give queries weighted terms, as an analyser writes them; a query of None stays what its text says."""
    plain = [None if each is None else {term: float(w) for term, w in each.items()} for each in weights]
    return _with(queries, TERMS, plain, analyzer)


def terms_of(queries: Queries, analyzer: str) -> list[Weights | None]:
    """Return the weighted terms of queries; None where the text says what is asked.

    Raises:
        ConfigError: when they are another analyser's.
    """
    found = _of(queries, TERMS, analyzer)
    return [None] * len(queries) if found is None else list(found)


def with_vectors(queries: Queries, vectors: Floats, space: str) -> Queries:
    """Give queries vectors ``float32[Q, dim]`` in the space of an index: the key of its documents' vectors."""
    return _with(queries, VECTOR, np.asarray(vectors, np.float32), space)


def vectors_of(queries: Queries, space: str) -> Floats | None:
    """Return the vectors that a stage gave the queries, ``float32[Q, dim]``; None where their texts are to be encoded.

    Raises:
        ConfigError: when they are of another space.
    """
    found: Floats | None = _of(queries, VECTOR, space)
    return found


def with_tokens(queries: Queries, vectors: Floats, space: str) -> Queries:
    """Give queries token vectors beside those of their texts, ``float32[Q, n, dim]``, each scaled by its weight; zeros are none."""
    return _with(queries, TOKENS, np.asarray(vectors, np.float32), space)


def tokens_of(queries: Queries, space: str) -> Floats | None:
    """Return the token vectors that a stage added, ``float32[Q, n, dim]``; None where there are none.

    Raises:
        ConfigError: when they are of another space.
    """
    found: Floats | None = _of(queries, TOKENS, space)
    return found


def spaces_of(queries: Queries, form: str) -> Sequence[str] | None:
    """Return in which space each query has its form: an analyser's name, the key of an index. None where they have no such form."""
    return queries.columns.get(_SPACE + form)


def rewritten(queries: Queries, texts: Sequence[str]) -> Queries:
    """Replace the texts, and keep the first ones. What was made of the old ones is dropped, but the weighted terms of a query whose
    new text is its old one.
    """
    terms, found = queries.columns.get(TERMS), restored(queries, texts)
    columns = {**found.columns}
    columns.setdefault(ORIGINAL, list(queries.text))
    if terms is not None:
        same = [new == old for new, old in zip(texts, queries.text, strict=True)]
        columns[TERMS] = [each if kept else None for each, kept in zip(terms, same, strict=True)]
        columns[_SPACE + TERMS] = queries.columns[_SPACE + TERMS]
    return replace(found, columns=columns)


def restored(queries: Queries, texts: Sequence[str]) -> Queries:
    """Give the queries these texts and no other form, whatever they were."""
    gone = {name for form in _OF for name in (form, _SPACE + form)}
    columns = {name: column for name, column in queries.columns.items() if name not in gone}
    return replace(queries, text=tuple(texts), columns=columns)


def told(queries: Queries, lines: Sequence[str]) -> Queries:
    """Add to each query a line, for people, of what a stage did to it; an empty one adds nothing."""
    before: Sequence[Sequence[str]] = queries.columns.get(TOLD, [()] * len(queries))
    both = [[*old, line] if line else list(old) for old, line in zip(before, lines, strict=True)]
    return queries.with_column(TOLD, both)


def kept(stage: str, reason: str) -> str:
    """Return the line of a stage that left a query as it was, whatever column it had to write for the others' sake."""
    return f"{stage}: the query as it was, for {reason}"


def tells_kept(line: str) -> bool:
    """Whether a line is one of :func:`kept`: what the stage gave that query then means what the query meant before."""
    return _KEPT.match(line) is not None


def _with(queries: Queries, form: str, values: Any, space: str) -> Queries:
    return queries.with_column(form, values).with_column(_SPACE + form, [space] * len(queries))


def _of(queries: Queries, form: str, space: str) -> Any:
    values = queries.columns.get(form)
    if values is None:
        return None
    spaces = zip(queries.columns[_SPACE + form], values, strict=True)
    strange = {each for each, value in spaces if each != space and value is not None}
    if strange:
        what, hint = _OF[form]
        other = f"{min(strange)!r}" if form == TERMS else "another index"
        ours = f"{space!r}" if form == TERMS else "this one"
        message = f"the {what} of the queries belong to {other}, and not to {ours}"
        raise ConfigError.of(message, where=f"query {queries.qid[0]!r}", hint=hint)
    return values
