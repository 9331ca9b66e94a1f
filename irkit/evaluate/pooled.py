"""Runs and judgements brought together without a corpus: the documents are those that the runs and the judgements name.

Codes come from the order of all those names, so rankings, ties and metrics are the same as with the collection. What only a
corpus could tell stays unknown: whether a judged document exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import DataError
from irkit.core.fingerprint import fingerprint
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, IntArray, Rankings, offsets_of
from irkit.data import formats
from irkit.data.aligning import Gains, align, check_topics, read_judgements, read_topics
from irkit.data.collection import EvalPolicy, Qrels, Warnings
from irkit.data.exclusions import read_exclusions
from irkit.data.judgements import judgements_fingerprint
from irkit.data.source import Judgement, Oddities, Table, Topic
from irkit.evaluate.anyrun import AnyRun
from irkit.evaluate.runfile import decode_id

Ties: TypeAlias = Literal["docno", "rank"]
"""How equal scores are ordered: by docno, descending, as trec_eval does; or as the rank column (without one, the file) has them.
That is the order in which a tool listed them, and some published values were computed from it."""


class Names:
    """Documents of which nothing but the ids is known. A code is the place in the bytewise order of the ids' UTF-8 forms."""

    def __init__(self, docnos: Iterable[str]) -> None:
        self._docnos = sorted(set(docnos))  # by code points, which UTF-8 keeps in order
        self._codes = dict(zip(self._docnos, range(len(self._docnos)), strict=True))

    def __len__(self) -> int:
        return len(self._docnos)

    def docno(self, code: int) -> str:
        """Return the id of a document."""
        return self._docnos[code]

    def code(self, docno: str) -> int | None:
        """Return the code of a document id, None when there is no such document."""
        return self._codes.get(docno)

    def codes(self, docnos: Sequence[str]) -> CodeArray:
        """Return the codes of document ids that are there, ``int32[n]``."""
        return np.fromiter(map(self._codes.__getitem__, docnos), np.int32, len(docnos))

    def text(self, code: int) -> str:
        """Return "": there is no text."""
        return ""


@dataclass(frozen=True, eq=False)
class Judged:
    """Judgements of queries as files give them, before anything is known of documents.

    Attributes:
        table: where the judgements come from.
        gains: by query, only of queries that exist.
        excluded: docnos by query that it must never retrieve.
        policy: how to evaluate.
        ties: how equal scores are ordered.
        warnings: what was odd but usable.
        texts: of the judged queries, where a file gives them.
    """

    table: Table[Judgement]
    gains: Mapping[str, Gains]
    excluded: Mapping[str, frozenset[str]]
    policy: EvalPolicy
    ties: Ties
    warnings: Warnings
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        qrels: Path,
        *,
        queries: Path | None = None,
        exclude: Path | None = None,
        policy: EvalPolicy | None = None,
        ties: Ties = "docno",
    ) -> Judged:
        """Read judgements, and exclusions from up to three places: relevance -100, the queries' ``excluded_ids``, a file.

        Args:
            qrels: TREC's four columns, BEIR's three, or JSON Lines.
            queries: which queries there are (JSON Lines, tab-separated or TREC topics); those of the judgements when None.
            exclude: query and document ids, one pair a line.
            policy: how to evaluate.
            ties: how equal scores are ordered.

        Raises:
            DataError: for a file that cannot be read or used, with ``file:line``.
        """
        odd, table = Oddities(), formats.judgements(_existing(qrels))
        gains, excluded = read_judgements(table, odd, editable=True)
        topics = formats.topics(_existing(queries)) if queries else None
        rows = read_topics(topics, odd) if topics else {qid: Topic(qid, "") for qid in gains}
        check_topics(rows, topics or Table(table.origin, lambda: iter(())), gains, table, odd)
        named = read_exclusions(_existing(exclude)) if exclude else {}
        kept = {qid: gains[qid] for qid in rows if qid in gains}
        every = {
            qid: frozenset((*rows[qid].excluded, *excluded.get(qid, ()), *named.get(qid, ()))) for qid in kept
        }
        if exclude and not named.keys() & rows.keys():
            example = f"{next(iter(named))!r}, queries have ids like {next(iter(rows))!r}"
            raise DataError.of(
                f"no query excludes anything: it names queries like {example}",
                where=str(exclude),
                hint="a line is: query-id <tab> document-id",
            )
        texts = {qid: rows[qid].text for qid in kept if rows[qid].text}
        return cls(table, kept, every, policy or EvalPolicy(), ties, odd.found, texts)

    @property
    def fingerprint(self) -> str:
        """Of judgements, exclusions and policy together; what order the files have makes no difference."""
        return fingerprint(
            {
                "judgements": {
                    qid: {docno: gain for docno, (_, gain) in gains.items()}
                    for qid, gains in self.gains.items()
                },
                "excluded": {qid: sorted(docnos) for qid, docnos in self.excluded.items() if docnos},
                "policy": self.policy.identity() | self._ties(),
            }
        )

    @property
    def judgements(self) -> str:
        """The fingerprint of judgements and exclusions, as a collection with documents has it."""
        gains = {
            qid: {docno: gain for docno, (_, gain) in of_query.items()}
            for qid, of_query in self.gains.items()
        }
        return judgements_fingerprint(gains, self.excluded, drop_self=self.policy.drop_self)

    def protocol(self) -> dict[str, Any]:
        """Return the policy as a report prints it."""
        return self.policy.model_dump(mode="json") | self._ties()

    def _ties(self) -> dict[str, Any]:
        return {} if self.ties == "docno" else {"ties": self.ties}


@dataclass(frozen=True, eq=False)
class Pooled:
    """Runs over the same judged queries.

    Attributes:
        queries: the judged queries, with the codes that each excludes.
        qrels: their judgements.
        rankings: of each run; a query that a run lacks has no hit.
        docs: the documents that the runs and judgements name.
        warnings: what was odd but usable: kind -> (how often, the first place).
    """

    queries: Queries
    qrels: Qrels
    rankings: Mapping[str, Rankings]
    docs: Names
    warnings: Warnings

    @property
    def documents(self) -> int:
        """How many documents the runs and judgements name."""
        return len(self.docs)


def pool(runs: Mapping[str, AnyRun], judged: Judged) -> Pooled:
    """Give every document that runs and judgements name its code, and order each run by score, ties as the protocol has it.

    A percent-encoded id is decoded where the judgements have the decoded one, or, in a file with an ir_metadata header, where
    they do not have it as written: irkit writes such files.

    Raises:
        DataError: for a document twice in one query, and a run that has no judged query.
    """
    odd = Oddities(dict(judged.warnings))
    known = frozenset(chain.from_iterable(judged.gains.values()))
    docnos = {name: _docnos(run, known) for name, run in runs.items()}
    docs = Names(chain(known, *docnos.values()))
    topics = [
        Topic(qid, "", tuple(each for each in judged.excluded[qid] if docs.code(each) is not None))
        for qid in judged.gains
    ]
    queries, qrels = align(topics, judged.gains, {}, docs, judged.policy, odd, judged.table)
    rows = {qid: row for row, qid in enumerate(queries.qid)}
    rankings = {
        name: _rankings(name, run, docs.codes(docnos[name]), rows, judged.ties, odd)
        for name, run in runs.items()
    }
    return Pooled(queries, qrels, rankings, docs, odd.found)


def _existing(path: Path) -> Path:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError.of(
            f"the file {what}", where=str(path), hint="relative paths start at the current folder"
        )
    return path


def _decoded(written: str, known: Mapping[str, object] | frozenset[str], run: AnyRun) -> str:
    if "%" not in written:
        return written
    decoded = decode_id(written)
    return decoded if decoded in known or (run.has_header and written not in known) else written


def _docnos(run: AnyRun, known: frozenset[str]) -> Sequence[str]:
    if not any("%" in docno for docno in run.docnos):
        return run.docnos
    return [_decoded(docno, known, run) for docno in run.docnos]


def _rankings(
    name: str, run: AnyRun, codes: CodeArray, rows: Mapping[str, int], ties: Ties, odd: Oddities
) -> Rankings:
    """Return the rankings of a run in the order of the judged queries.

    With ``ties="rank"`` their scores are those of the places, -1, -2, ...: rankings know no other order than that of scores.
    """
    row_of = np.array([rows.get(_decoded(qid, rows, run), -1) for qid in run.qids], np.int64)
    for place in np.flatnonzero(row_of < 0).tolist():
        odd.add(
            "query of a run without judgements (left out, as trec_eval does)", f"{name}: {run.qids[place]!r}"
        )
    query, doc = row_of[run.query], codes[run.doc]
    kept = np.flatnonzero(query >= 0)
    if not len(kept):
        example = f"it has queries like {run.qids[0]!r}, judgements are of queries like {next(iter(rows))!r}"
        hint = "is the run of another collection or split?"
        raise DataError.of(f"none of the run's queries is judged: {example}", where=str(run.path), hint=hint)
    _refuse_duplicates(run, query, doc, kept, len(codes) and int(codes.max()) + 1)
    among = (
        -doc if ties == "docno" else run.rank
    )  # the sort is stable, and NaN is last: without a rank the file's order
    order = kept[np.lexsort((among[kept], -run.score[kept], query[kept]))]
    counts = np.bincount(query[order], minlength=len(rows))
    qids = list(rows)
    for row in np.flatnonzero(counts == 0).tolist():
        odd.add("judged query that a run lacks (it counts 0)", f"{name}: {qids[row]!r}")
    offsets = offsets_of(counts)
    _tell_ranks(name, run, order, offsets, odd)
    if ties == "docno":
        return Rankings(offsets, doc[order], run.score[order])
    places = np.arange(len(order)) - np.repeat(offsets[:-1], counts)
    return Rankings(offsets, doc[order], (-1 - places).astype(np.float32))


def _refuse_duplicates(run: AnyRun, query: IntArray, doc: CodeArray, kept: IntArray, n_docs: int) -> None:
    keys = query[kept] * n_docs + doc[kept]
    order = np.argsort(keys, kind="stable")  # within a key by place in the file
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        at = twice[np.argmin(order[twice + 1])]
        first, second = int(kept[order[at]]), int(kept[order[at + 1]])
        docno, qid = run.docnos[run.doc[second]], run.qids[run.query[second]]
        more = f" ({len(twice)} such lines)" if len(twice) > 1 else ""
        raise DataError.of(
            f"document {docno!r} appears again for query {qid!r}{more}",
            where=run.at(second),
            hint=f"the first is at {run.at(first)}; keep one line for each document",
        )


def _tell_ranks(name: str, run: AnyRun, order: IntArray, offsets: IntArray, odd: Oddities) -> None:
    """Count the queries whose rank column has another order than their scores."""
    rank, score = run.rank[order], run.score[order]
    falls: NDArray[np.bool_] = rank[1:] < rank[:-1]
    starts = offsets[(offsets > 0) & (offsets < len(order))] - 1
    falls[starts] = False
    query = np.searchsorted(offsets, np.flatnonzero(falls), side="right") - 1
    tied = (score[1:] == score[:-1])[falls]
    for kind, rows in (
        ("query whose rank column contradicts its scores (the scores count)", np.unique(query[~tied])),
        ("query with ties in another order than by docno, descending", np.setdiff1d(query, query[~tied])),
    ):
        for row in rows.tolist():
            odd.add(kind, f"{name}: {run.qids[run.query[order[offsets[row]]]]!r}")
