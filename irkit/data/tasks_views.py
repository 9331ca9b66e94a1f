"""Queries that a document's own text gives: its title asks for its body, or a sentence for the rest of it (the inverse cloze task).

Such a query is answered by a part of its document, so what it is compared with must be parts of the same kind: bodies without
titles. Documents are drawn in an order that the seed decides; the same collection and seed give the same queries on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from irkit.data.docstore import DocStore
from irkit.data.draws import Draws

TITLE_WORDS = 3
"""The fewest words of a title that is a query."""
BODY_WORDS = 20
"""The fewest words of a body, or of what is left of it, that is read as a document."""
SENTENCE_WORDS = 5
"""The fewest words of a sentence that is a query."""
REMOVED = 90
"""Of a hundred sentences so many are taken out of their documents (Lee et al., 2019, arXiv 1906.00300, section 9.2)."""

_END = re.compile(r"[.!?][\"'\u2019\u201d)\]]*\s+|\n\s*\n\s*")
_BETWEEN = " \t\r\n.:;-"


class Part(NamedTuple):
    """A query, and the code of the document that it is a part of."""

    query: str
    doc: int


def body_of(docs: DocStore, code: int) -> str:
    """Return the text of a document without its title, also where the body begins with the title once more."""
    title, body = docs.title(code).strip(), docs.body(code).strip()
    if title and body[: len(title)].casefold() == title.casefold() and not body[len(title) :][:1].isalnum():
        body = body[len(title) :].lstrip(_BETWEEN)
    return body


def plain(text: str) -> bytes:
    """Return a digest of a text but for case and spaces: texts with the same one are copies."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass")).digest()


def long_enough(body: str) -> bool:
    """Whether a body has :data:`BODY_WORDS` words."""
    return len(body.split(maxsplit=BODY_WORDS)) >= BODY_WORDS


def title_parts(docs: DocStore, codes: Iterable[int], skipped: Counter[str]) -> Iterator[Part]:
    """Yield the titles that ask for their documents' bodies.

    Args:
        docs: the documents.
        codes: of those that may be used.
        skipped: counts, by reason, those that cannot.
    """
    for code in codes:
        title, body = " ".join(docs.title(code).split()), body_of(docs, code)
        if not title:
            skipped["no title"] += 1
        elif len(title.split()) < TITLE_WORDS:
            skipped[f"title of fewer than {TITLE_WORDS} words"] += 1
        elif not long_enough(body):
            skipped[f"body of fewer than {BODY_WORDS} words"] += 1
        else:
            yield Part(title, code)


def cloze_parts(docs: DocStore, codes: Iterable[int], skipped: Counter[str], seed: int) -> Iterator[Part]:
    """Yield the sentence of each body that :func:`cut` draws; the arguments are those of :func:`title_parts`, and a seed."""
    for code in codes:
        found = cut(body_of(docs, code), seed)
        if found is None:
            skipped[f"no sentence with {BODY_WORDS} other words"] += 1
        else:
            yield Part(found[0], code)


def cut(body: str, seed: int) -> tuple[str, str] | None:
    """Return what :func:`cloze` does; of a text and its copies always the same sentence, whether it is to be found or not."""
    return cloze(body, Draws(f"irkit inverse-cloze {seed} of {plain(body).hex()}"))


def cloze(body: str, draws: Draws) -> tuple[str, str] | None:
    """Return a sentence of a text and the rest, in 10 of 100 draws the whole text; None where no sentence leaves enough.

    The sentence is drawn among those of at least :data:`SENTENCE_WORDS` words that leave :data:`BODY_WORDS` others.
    """
    words = len(body.split())
    fit = [
        (start, stop)
        for start, stop in sentences(body)
        if SENTENCE_WORDS <= len(body[start:stop].split()) <= words - BODY_WORDS
    ]
    if not fit:
        return None
    start, stop = fit[draws.below(len(fit))]
    if draws.below(100) >= REMOVED:
        return body[start:stop], body
    return body[start:stop], f"{body[:start].rstrip()} {body[stop:].lstrip()}".strip()


def sentences(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of a text begin and end, without the spaces between them.

    A sentence ends at an empty line, and after ``.``, ``!`` or ``?`` (and quotes or brackets that close) where a space follows and
    then no small letter: "e.g. this" is not parted, "Dr. Who" is.
    """
    spans, start = list[tuple[int, int]](), len(text) - len(text.lstrip())
    for found in _END.finditer(text):
        if found.end() < len(text) and not text[found.end()].islower():
            stop = found.start() + len(found.group().rstrip())
            if stop > start:
                spans.append((start, stop))
            start = found.end()
    stop = len(text.rstrip())
    return [*spans, (start, stop)] if stop > start else spans
