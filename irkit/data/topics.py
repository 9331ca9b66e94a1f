"""Queries and judgements on disk: ``topics.json`` and five arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.data.collection import Qrels


def save_topics(folder: Path, queries: Queries, qrels: Qrels) -> None:
    """Write the queries (without columns) and their judgements below ``folder``."""
    record = {"qid": queries.qid, "text": queries.text, "unknown": qrels.unknown}
    (folder / "topics.json").write_text(json.dumps(record), encoding="utf-8")
    excluded = queries.exclude or (np.zeros(0, np.int32),) * len(queries)
    arrays: dict[str, NDArray[Any]] = {
        "qrels_offsets": qrels.offsets,
        "qrels_doc": qrels.doc,
        "qrels_gain": qrels.gain,
        "exclude_offsets": offsets_of([len(codes) for codes in excluded]),
        "exclude_doc": np.concatenate(excluded),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)


def load_topics(folder: Path) -> tuple[Queries, Qrels]:
    """Read what :func:`save_topics` wrote; the judgements are mapped."""
    record = json.loads((folder / "topics.json").read_text(encoding="utf-8"))
    offsets, doc, gain, starts, codes = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        for name in ("qrels_offsets", "qrels_doc", "qrels_gain", "exclude_offsets", "exclude_doc")
    )
    exclude = tuple(np.split(codes, starts[1:-1])) if len(codes) else ()
    queries = Queries(tuple(record["qid"]), tuple(record["text"]), exclude)
    return queries, Qrels(offsets, doc, gain, tuple(record["unknown"]))
