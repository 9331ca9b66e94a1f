"""A collection: documents, queries, judgements, and the policy under which its authors evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.data.docstore import DocStore


class EvalPolicy(BaseModel):
    """How a collection's authors mean it to be evaluated. Part of every fingerprint of a score; printed in the report.

    Fixed for every collection: a judged query missing from a run counts 0, ties are broken by trec_eval's rule, documents
    excluded for a query are dropped before every cutoff.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_self: bool = False
    """The document whose id is the query's id is never retrieved (BEIR; it matters on ArguAna and Quora)."""
    macro: str | None = None
    """The name of the set over whose members the mean is taken (CQADupStack's 12 forums)."""
    relevance_level: int = Field(1, ge=1)
    """The lowest gain of a relevant document in metrics that know only relevant or not, where they name no level themselves
    (TREC Deep Learning's passages: 2). nDCG takes all gains."""

    def identity(self) -> dict[str, Any]:
        """Return the policy as fingerprints have it: what came after the first of them, only where it differs from the default."""
        usual = {"relevance_level"} if self.relevance_level == 1 else set()
        return self.model_dump(mode="json", exclude=usual)


@dataclass(frozen=True, eq=False)
class Qrels:
    """Judgements of Q queries, columnar. A judged document that the collection lacks has a code >= the number of documents.

    Attributes:
        offsets: ``int64[Q + 1]``.
        doc: ``int32[n]``, ascending within a query.
        gain: ``int32[n]``; negative and zero gains are judged and not relevant.
    """

    offsets: NDArray[np.int64]
    doc: NDArray[np.int32]
    gain: NDArray[np.int32]
    unknown: tuple[str, ...] = ()
    """The docnos of the judged documents that the collection lacks: code N + i is ``unknown[i]``."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the judged documents of one query and their gains."""
        start, stop = self.offsets[query], self.offsets[query + 1]
        return self.doc[start:stop], self.gain[start:stop]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether a query has any judgement, ``bool[Q]``: trec_eval averages over these queries."""
        return np.diff(self.offsets) > 0

    def take(self, rows: ArrayLike) -> Qrels:
        """Return the judgements of the queries with these numbers, in the order given; ``unknown`` stays."""
        index = np.asarray(rows, dtype=np.int64)
        lengths = np.diff(self.offsets)[index]
        offsets = offsets_of(lengths)
        # the place in the old arrays of every kept judgement: the start of its query, and its position within the query
        place = np.repeat(self.offsets[:-1][index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Qrels(offsets, self.doc[place], self.gain[place], self.unknown)


Warnings: TypeAlias = Mapping[str, tuple[int, str]]
"""What was odd but usable in the source: kind -> (how often, the first place as ``file:line`` and id)."""


@dataclass(frozen=True)
class Collection:
    """A collection, opened: documents and judgements are mapped from the store, not held in memory.

    Attributes:
        name: as written in the experiment.
        docs: the documents; a document is its code there.
        queries: the queries to run: with texts, and with what the policy excludes. In the order of the source.
        qrels: the judgements, aligned with ``queries`` (a query without judgements has none).
        policy: the evaluation policy.
        docs_fingerprint: of the content of the documents: splits of one corpus share it, and so share indexes.
        fingerprint: of the documents, queries, judgements and policy together.
    """

    name: str
    docs: DocStore
    queries: Queries
    qrels: Qrels
    policy: EvalPolicy
    docs_fingerprint: str
    fingerprint: str
    warnings: Warnings = field(default_factory=dict)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether a query has any judgement, ``bool[Q]``."""
        return self.qrels.judged
