"""What a run keeps for those who look into it: where pipelines lose relevant documents, and some queries with their documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from irkit.config.report import ReportOptions
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, Rankings, ScoreArray
from irkit.core.text import well_formed
from irkit.data.collection import Qrels
from irkit.evaluate.funnel import Ranks, Relevant, ranks_after, survival
from irkit.report.budget import Costs, costs_of, fitted
from irkit.report.details import (
    Details,
    DetailsFile,
    Funnel,
    FunnelStep,
    Hits,
    QueryDetails,
    Text,
    save_details,
)
from irkit.report.details import Relevant as RelevantDocument
from irkit.report.results import Record, Results

MOST_RELEVANT: Final = 20
"""Relevant documents of a query that are kept."""
QUERY_CHARACTERS: Final = 2000
"""Of the text of a query that are kept; more where the experiment keeps more of documents."""


class Documents(Protocol):
    """Documents by code."""

    def __len__(self) -> int:
        """Return how many there are."""

    def docno(self, code: int) -> str:
        """Return the id of a document."""

    def text(self, code: int) -> str:
        """Return its title and text."""


@dataclass(frozen=True)
class Track:
    """A pipeline as the steps whose rankings are known, the last one its end.

    Attributes:
        stages: for each step the name of its stage and what tells it from its like.
        inputs: for each step the numbers of the steps that it works on.
        load: returns the rankings after each step.
        left_out: the labels of the stages whose rankings are not known.
        unknown: the steps, by number, to which documents come from such stages with nothing known before them.
    """

    stages: Sequence[tuple[str, str]]
    inputs: Sequence[Sequence[int]]
    load: Callable[[], Sequence[Rankings]]
    left_out: Sequence[str] = ()
    unknown: Sequence[int] = ()


@dataclass(frozen=True)
class Source:
    """A collection as the details show it.

    Attributes:
        name: what the experiment calls it.
        queries: with what they exclude.
        qrels: the judgements, aligned with them.
        level: the lowest gain of a relevant document.
        docs: the documents; a code beyond them is one of ``qrels.unknown``.
        texts: the texts of queries by id; those that have none are not known.
        has_texts: whether the texts of documents are known.
        has_scores: whether the scores of rankings are those of the pipelines, and not places.
    """

    name: str
    queries: Queries
    qrels: Qrels
    level: int
    docs: Documents
    texts: Mapping[str, str]
    has_texts: bool = True
    has_scores: bool = True


class CollectionDetails(Record):
    """Funnels and queries of one collection; ``costs`` are their bytes (:func:`~irkit.report.budget.costs_of`)."""

    funnels: list[Funnel]
    details: Details
    costs: Costs


def collection_details(
    source: Source, tracks: Mapping[str, Track], rows: Sequence[int], k: int, options: ReportOptions
) -> CollectionDetails:
    """Return the funnel of every pipeline, and the details of some queries.

    The rankings of one pipeline are in hand at a time; of the documents only those that are kept are read.

    Args:
        source: the collection.
        tracks: the pipelines.
        rows: the queries, those that tell most first.
        k: the cutoff of the funnels.
        options: how much to keep.
    """
    relevant = Relevant.of(source.qrels, exclude=source.queries.exclude, level=source.level)
    queries, funnels = relevant.queries, []
    outside = relevant.outside(len(source.docs))
    lacking = int(outside.sum())
    ranks: dict[str, Ranks] = {}
    hits: dict[str, Rankings] = {}
    exclude = source.queries.exclude
    for pipeline, track in tracks.items():
        loaded = track.load()
        after = ranks_after(loaded, relevant, exclude)
        missed, counts = survival(after, track.inputs, k)
        steps = [
            FunnelStep(
                stage=stage,
                label=label,
                inputs=list(inputs),
                relevant=c.relevant,
                top=c.top,
                lost=c.lost,
                unknown=number in track.unknown,
            )
            for number, ((stage, label), inputs, c) in enumerate(
                zip(track.stages, track.inputs, counts, strict=True)
            )
        ]
        funnels.append(
            Funnel(
                collection=source.name,
                pipeline=pipeline,
                k=k,
                total=len(relevant),
                missed=missed - lacking,  # what is not there is in no output
                outside=lacking,
                queries=queries,
                steps=steps,
                left_out=list(track.left_out),
            )
        )
        ranks[pipeline] = after
        mine = loaded[-1].take(rows)
        hits[pipeline] = mine.without([exclude[row] for row in rows] if exclude else []).top(options.hits)
    details = _details(source, relevant, outside, rows, ranks, hits, options.characters)
    return CollectionDetails(funnels=funnels, details=details, costs=costs_of(details))


def write_details(
    results: Results, collections: Sequence[CollectionDetails], limit: int, folder: Path
) -> DetailsFile:
    """Write ``details.json``: all funnels, and of each collection as many queries as fit into ``limit`` bytes, compressed.

    Raises:
        ReportError: when the folder cannot be written.
    """
    details = fitted([each.details for each in collections], [each.costs for each in collections], limit)
    return save_details(results, [funnel for each in collections for funnel in each.funnels], details, folder)


@dataclass(frozen=True)
class _Shown:
    """The relevant pairs of a query that are shown, by their places among all, and how many there are more."""

    places: list[int]
    more: int


def _shown(relevant: Relevant, row: int) -> _Shown:
    where = relevant.of_query(row)
    order = np.argsort(-relevant.gain[where].astype(np.int64), kind="stable") + where.start
    return _Shown(order[:MOST_RELEVANT].tolist(), max(0, len(order) - MOST_RELEVANT))


class _Texts:
    """The documents that are mentioned, in the order in which they are."""

    def __init__(self, source: Source, characters: int) -> None:
        self.texts: list[Text] = []
        self._source, self._characters = source, characters
        self._numbers: dict[int, int] = {}

    def number(self, code: int) -> int:
        """Return the number of a document, which is read when it is mentioned first."""
        if code not in self._numbers:
            self._numbers[code] = len(self.texts)
            self.texts.append(self._read(code))
        return self._numbers[code]

    def _read(self, code: int) -> Text:
        docs, unknown = self._source.docs, code - len(self._source.docs)
        if unknown >= 0:
            return Text(docno=well_formed(self._source.qrels.unknown[unknown]))
        docno = well_formed(docs.docno(code))
        if not self._source.has_texts or not self._characters:
            return Text(docno=docno)
        text, more = beginning(docs.text(code), self._characters)
        return Text(docno=docno, text=text, more=more)


def beginning(text: str, characters: int) -> tuple[str, bool]:
    """Return the first characters of a text, well-formed, and whether it goes on; the rest of it is not looked at."""
    begin = well_formed(
        text[: 2 * characters + 2]
    )  # a character may be two surrogates, and the last one of these half of one
    return begin[:characters], len(begin) > characters


def _details(
    source: Source,
    relevant: Relevant,
    outside: NDArray[np.bool_],
    rows: Sequence[int],
    ranks: Mapping[str, Ranks],
    hits: Mapping[str, Rankings],
    characters: int,
) -> Details:
    """Put the queries together; ``hits`` are those of ``rows``, ``ranks`` and ``outside`` those of all relevant pairs."""
    texts = _Texts(source, characters)
    queries = []
    for place, row in enumerate(rows):
        qid = source.queries.qid[row]
        text, more = beginning(source.texts.get(qid, ""), max(QUERY_CHARACTERS, characters))
        shown = _shown(relevant, row)
        queries.append(
            QueryDetails(
                qid=well_formed(qid),
                text=text if qid in source.texts else None,
                more=more,
                relevant=[
                    RelevantDocument(
                        doc=texts.number(int(relevant.doc[each])),
                        gain=int(relevant.gain[each]),
                        outside=bool(outside[each]),
                        ranks={p: [rank or None for rank in of[each].tolist()] for p, of in ranks.items()},
                    )
                    for each in shown.places
                ],
                more_relevant=shown.more,
                hits={
                    p: _hits(of[place], source.qrels[row], texts, source.has_scores) for p, of in hits.items()
                },
            )
        )
    every = set(np.flatnonzero(source.qrels.judged).tolist()) <= set(rows)
    return Details(
        collection=source.name, documents=texts.texts, queries=queries, chosen="all" if every else "some"
    )


def _hits(
    found: tuple[CodeArray, ScoreArray],
    judged: tuple[CodeArray, NDArray[np.int32]],
    texts: _Texts,
    has_scores: bool,
) -> Hits:
    docs, scores = found
    gains = dict(zip(*(each.tolist() for each in judged), strict=True))
    return Hits(
        docs=[texts.number(code) for code in docs.tolist()],
        scores=[float(str(score)) for score in scores]
        if has_scores
        else [],  # as short as a float32 can be written
        gains=[gains.get(code) for code in docs.tolist()],
    )
