"""Fine-grained tasks from any collection: find the passage of which these are the salient terms, or of which this is a part.

The tasks of LexSemBridge's evaluation (arXiv 2508.17858), whose generators are not public; these are irkit's own. A passage is the
body of a document, or its title where it has no body. Every generated query has one passage, its only relevant document; a copy of
that document, with the same title and body but for case and spaces, is relevant too. A query that another document answers just
as well (it holds all the terms, or the same words in a row) is not used: the terms are added to, the part is drawn anew. The same
collection, options and seed give the same queries on every machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from irkit.core.errors import ConfigError, DataError
from irkit.data.collection import Collection
from irkit.data.docstore import DocStore
from irkit.data.draws import Draws
from irkit.data.salient import WordCounts, words_of

GENERATOR = 1
"""Counts up when the same options come to give other queries."""
LENGTHS = (16, 256)
"""The shortest and the longest part of a passage, in words."""
TERMS = (3, 8)
"""The fewest and the most terms of a keyword query, unless said otherwise."""
_TRIES = 4  # parts drawn of a passage until one is found nowhere else

Task = Literal["keyword", "passage-part"]


@dataclass(frozen=True)
class TaskOptions:
    """How queries are generated.

    Attributes:
        task: "keyword" or "passage-part".
        queries: how many passages are drawn; all when None. A passage gives one keyword query, or one part of each length.
        seed: of the draws.
        lengths: of parts, in words as spaces separate them.
        terms: the fewest and the most terms of a keyword query; how many is drawn for each, evenly.
        all_docs: draw from all documents, not only from those that are relevant to a judged query.

    Raises:
        ConfigError: for a number that cannot be.
    """

    task: Task
    queries: int | None = None
    seed: int = 0
    lengths: tuple[int, ...] = (16, 32, 64, 128)
    terms: tuple[int, int] = TERMS
    all_docs: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        low, high = LENGTHS
        if not self.lengths or any(not low <= length <= high for length in self.lengths):
            shown = ", ".join(map(str, self.lengths)) or "none"
            raise ConfigError.of(
                f"a part has {low} to {high} words, not {shown}",
                where="length",
                hint=f"for example {2 * low}",
            )
        if len(set(self.lengths)) < len(self.lengths):
            raise ConfigError.of("a length is given twice", where="length", hint="give each once")
        if not 1 <= self.terms[0] <= self.terms[1]:
            raise ConfigError.of(f"{list(self.terms)} is no range", where="terms", hint="for example [3, 8]")
        if self.queries is not None and self.queries < 1:
            raise ConfigError.of("at least one passage is drawn", where="queries", hint="give 1 or more")


class Generated(NamedTuple):
    """A query made from a passage: the code of its document, and those of the document's copies."""

    qid: str
    text: str
    doc: int
    copies: tuple[int, ...]
    words: int


@dataclass
class _Draft:
    """What may become a query: wordings, of which the first that no other document matches is taken.

    Attributes:
        doc: the code of the document.
        wordings: to choose from.
        size: of the first one: terms, or words of the part.
        anchor: a word that whoever matches a keyword wording holds; "" for parts.
        rivals: (code, number of the wording) of every other document that matches a wording.
    """

    doc: int
    wordings: list[tuple[str, ...]]
    size: int
    anchor: str = ""
    rivals: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class TaskQueries:
    """The queries of a task, and how many drafts came to nothing and why."""

    queries: list[Generated]
    skipped: dict[str, int]


def gold_passages(collection: Collection, options: TaskOptions) -> list[int]:
    """Return the codes of the documents that passages are drawn from, in the order of the draw.

    Raises:
        DataError: when there is none.
    """
    return drawn_codes(collection, options.all_docs, _draws(options, "passages"))


def drawn_codes(collection: Collection, any_document: bool, draws: Draws) -> list[int]:
    """Return the codes of all documents, or of those that are relevant to some query, in the order of the draw.

    Raises:
        DataError: when there is none.
    """
    if any_document:
        codes = list(range(len(collection.docs)))
    else:
        good = collection.qrels.doc[collection.qrels.gain > 0]
        codes = np.unique(good[good < len(collection.docs)]).tolist()
    if not codes:
        hint = "choose a split with judgements, or draw from all documents (--all-docs, in a recipe all_docs: true)"
        raise DataError.of("no document is relevant to any query", where=collection.name, hint=hint)
    draws.shuffle(codes)
    return codes


def make_queries(collection: Collection, options: TaskOptions) -> TaskQueries:
    """Generate the queries of a task. The documents are read twice; memory grows with their vocabulary and the passages drawn.

    Raises:
        DataError: when no passage gives a query.
    """
    docs = collection.docs
    counts = WordCounts(docs)
    skipped: Counter[str] = Counter()
    drafts: list[_Draft] = []
    drawn = 0
    for code in gold_passages(collection, options):
        if options.queries is not None and drawn == options.queries:
            break
        found = list(_drafts(docs, code, options, counts))
        drawn += bool(found)
        drafts += found
        missing = (len(options.lengths) if options.task == "passage-part" else 1) - len(found)
        if missing:
            skipped["passage too short"] += missing
    copies = _look_for_rivals(docs, drafts, counts)
    queries: list[Generated] = []
    for draft in drafts:
        text = _settled(draft, copies[draft.doc])
        if text is None:
            skipped["another document answers it as well"] += 1
            continue
        qid = f"{'keyword' if options.task == 'keyword' else f'part{draft.size}'}-{len(queries) + 1}"
        queries.append(Generated(qid, text, draft.doc, copies[draft.doc], len(text.split())))
    if not queries:
        told = ", ".join(f"{count} x {why}" for why, count in skipped.items())
        hint = "ask for shorter parts, or more passages" if options.task == "passage-part" else "--all-docs?"
        raise DataError.of(f"no passage gives a query: {told}", where=collection.name, hint=hint)
    return TaskQueries(queries, dict(skipped))


def describe(options: TaskOptions) -> dict[str, Any]:
    """Return what decides the queries besides the collection, as JSON values."""
    own: dict[str, Any] = (
        {
            "terms": list(options.terms),
            "order": "as in the passage",
            "salience": "(1 + ln tf) ln((N + 1) / (df + 0.5))",
        }
        if options.task == "keyword"
        else {"lengths": list(options.lengths)}
    )
    passages = "all documents" if options.all_docs else "relevant documents"
    return {
        "generator": GENERATOR,
        "task": options.task,
        "seed": options.seed,
        "passages": passages,
        "drawn": options.queries,
        **own,
    }


def passage_of(docs: DocStore, code: int) -> str:
    """Return the passage of a document: its body, or its title where it has no body."""
    return docs.body(code).strip() or docs.title(code).strip()


def _draws(options: TaskOptions, what: str) -> Draws:
    return Draws(f"irkit task {GENERATOR} {options.task} {options.seed} {what}")


def _drafts(docs: DocStore, code: int, options: TaskOptions, counts: WordCounts) -> Iterator[_Draft]:
    passage = passage_of(docs, code)
    draws = _draws(options, f"of {docs.docno(code)}")
    if options.task == "keyword":
        terms = counts.salient(passage)
        low, high = options.terms
        if len(terms) >= low:
            first = low + draws.below(min(high, len(terms)) - low + 1)
            place = {word: i for i, word in reversed(list(enumerate(words_of(passage))))}
            wordings = [
                tuple(sorted(terms[:n], key=place.__getitem__))
                for n in range(first, min(high, len(terms)) + 1)
            ]
            yield _Draft(code, wordings, first, counts.rarest(wordings[0]))
        return
    words = passage.split()
    for length in options.lengths:
        if len(words) <= length:  # the whole passage is no part of it
            continue
        starts = draws.sample(range(len(words) - length + 1), min(_TRIES, len(words) - length + 1))
        parts = [tuple(words[start : start + length]) for start in starts]
        usable = [part for part in parts if words_of(" ".join(part))]
        if usable:
            yield _Draft(code, usable, length)


def _look_for_rivals(
    docs: DocStore, drafts: Sequence[_Draft], counts: WordCounts
) -> dict[int, tuple[int, ...]]:
    """Read all documents once more; note those that may match a draft, and return the copies of every drafted document."""
    waiting: defaultdict[str, list[tuple[_Draft, int]]] = defaultdict(list)
    for draft in drafts:
        if draft.anchor:
            waiting[draft.anchor].append((draft, 0))
        else:
            for i, part in enumerate(draft.wordings):
                waiting[counts.rarest(words_of(" ".join(part)))].append((draft, i))
    own = {code: _plain(docs.text(code)) for code in sorted({draft.doc for draft in drafts})}
    by_text: defaultdict[str, list[int]] = defaultdict(list)
    for code, text in own.items():
        by_text[text].append(code)
    copies: dict[str, list[int]] = {text: [] for text in by_text}
    for code in range(len(docs)):
        text = docs.text(code)
        whole = _plain(text)
        if whole in copies:
            copies[whole].append(code)
        held = frozenset(word.casefold() for word in words_of(text))
        for word in held & waiting.keys():
            for draft, wording in waiting[word]:
                if draft.doc == code:
                    continue
                numbers = range(len(draft.wordings)) if draft.anchor else (wording,)
                draft.rivals += [
                    (code, number)
                    for number in numbers
                    if _matches(draft.wordings[number], whole, held, keyword=bool(draft.anchor))
                ]
    return {code: tuple(other for other in copies[text] if other != code) for code, text in own.items()}


def _settled(draft: _Draft, copies: Sequence[int]) -> str | None:
    """Return the first wording that no other document matches."""
    matched = {wording for code, wording in draft.rivals if code not in copies}
    free = (wording for number, wording in enumerate(draft.wordings) if number not in matched)
    return next((" ".join(wording) for wording in free), None)


def _matches(wording: Sequence[str], whole: str, held: frozenset[str], *, keyword: bool) -> bool:
    if keyword:
        return all(term.casefold() in held for term in wording)
    return " ".join(wording).casefold() in whole


def _plain(text: str) -> str:
    """Return a text casefolded and with single spaces: documents whose texts are then equal are copies."""
    return " ".join(text.casefold().split())
