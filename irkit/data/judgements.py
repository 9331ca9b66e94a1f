"""One fingerprint for judgements, wherever they come from: of a collection with its documents, or of files without any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from irkit.core.fingerprint import canonical
from irkit.data.collection import Collection


def judgements_fingerprint(
    gains: Mapping[str, Mapping[str, int]], excluded: Mapping[str, Iterable[str]], *, drop_self: bool = False
) -> str:
    """Return 64 hexadecimal digits of what every judged query is judged by: (query, document, gain), and what it excludes.

    The order of files makes no difference. The policy is no part of it: it is compared key by key. With ``drop_self`` the document
    of a query's own id, which the policy excludes already, does not count as excluded.

    Args:
        gains: by query the documents with their gains; of judged queries only.
        excluded: by query the documents that it must never retrieve; may name other queries, which are left aside.
        drop_self: the policy's.
    """
    digest = hashlib.sha256()
    for qid in sorted(gains):
        own = {qid} if drop_self else set()
        row = [qid, sorted(gains[qid].items()), sorted(set(excluded.get(qid, ())) - own)]
        digest.update(canonical(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def collection_judgements(collection: Collection) -> str:
    """Return the fingerprint of a collection's judgements. Documents that it excludes and lacks are not known any more."""
    docs, qrels, queries = collection.docs, collection.qrels, collection.queries
    known, names = len(docs), dict[int, str]()

    def docno(code: int) -> str:
        if code not in names:
            names[code] = qrels.unknown[code - known] if code >= known else docs.docno(code)
        return names[code]

    gains, excluded = dict[str, dict[str, int]](), dict[str, list[str]]()
    for row in np.flatnonzero(qrels.judged).tolist():
        codes, values = qrels[row]
        qid = queries.qid[row]
        gains[qid] = {docno(code): gain for code, gain in zip(codes.tolist(), values.tolist(), strict=True)}
        if queries.exclude:
            excluded[qid] = [docno(code) for code in queries.exclude[row].tolist()]
    return judgements_fingerprint(gains, excluded, drop_self=collection.policy.drop_self)
