"""A small valid BEIR folder, and the store in which tests open it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.store import Store

DOCS = [("d2", "Second", "two words"), ("d10", "", "ten"), ("d1", "First", "one")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three documents, two queries, the splits test and train."""
    home = tmp_path / "toy"
    (home / "qrels").mkdir(parents=True)
    rows = [{"_id": docno, "title": title, "text": text} for docno, title, text in DOCS]
    (home / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = [{"_id": "q1", "text": "what is one"}, {"_id": "q2", "text": "what is two"}]
    (home / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    header = "query-id\tcorpus-id\tscore\n"
    (home / "qrels" / "test.tsv").write_text(header + "q1\td1\t2\nq1\td10\t0\n")
    (home / "qrels" / "train.tsv").write_text(header + "q2\td2\t1\n")
    return home


@pytest.fixture
def load(store: Store, folder: Path) -> Callable[..., Collection]:
    """Open the folder (or what the keywords say) in the store."""

    def opened(**spec: object) -> Collection:
        return open_collection(LocalSpec.model_validate(spec or {"path": "toy"}), store, base=folder.parent)

    return opened
