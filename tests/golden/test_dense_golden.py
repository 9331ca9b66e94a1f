"""Golden checks of the neural stages on real collections: published and reference figures, within their tolerance."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.pipeline.context import Context, Runtime
from irkit.pipeline.stage import Batch, Stage
from irkit.stages.dense import Dense
from irkit.stages.multivector.maxsim import MaxSim
from irkit.store import Store

pytestmark = [pytest.mark.model, pytest.mark.slow]


def score(stage: Stage, collection: Collection, store: Store, metric: str) -> float:
    """Run a stage over all queries and return the mean of a pytrec_eval metric."""
    import pytrec_eval

    state, parts, queries = stage.prepare(Context(collection, store, Runtime("cpu"))), [], collection.queries
    for start in range(0, len(queries), stage.chunk):
        part = stage.run(Batch(queries.take(range(start, min(start + stage.chunk, len(queries))))), state)
        assert isinstance(part, Rankings)
        parts.append(part)
    found, qrels, run = Rankings.concat(parts), {}, {}
    for row, qid in enumerate(queries.qid):
        judged = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        gains = zip(collection.qrels.doc[judged], collection.qrels.gain[judged], strict=True)
        qrels[qid] = {str(doc): int(gain) for doc, gain in gains}
        codes = found[row][0]
        run[qid] = {
            str(doc): float(len(codes) - rank) for rank, doc in enumerate(codes)
        }  # the canonical order, without ties
    qrels = {qid: gains for qid, gains in qrels.items() if gains}
    values = pytrec_eval.RelevanceEvaluator(qrels, {metric}).evaluate(run)
    return float(np.mean([value[metric.replace(".", "_")] for value in values.values()]))


def collection_of(test_data: Path, name: str, store: Store) -> Collection:
    folder = test_data / name
    if not folder.is_dir():
        pytest.skip(f"no collection at {folder}")
    return open_collection(
        LocalSpec.model_validate({"path": str(folder), "split": "test"}), store, base=test_data
    )


def test_limit_small(test_data: Path, tmp_path: Path) -> None:
    """Single vectors fail here by construction; token vectors do not."""
    store = Store(tmp_path)
    collection = collection_of(test_data, "limit-small", store)
    assert score(Dense(k=10), collection, store, "recall.2") == pytest.approx(0.162, abs=0.005)
    assert score(MaxSim(k=10), collection, store, "recall.2") >= 0.96


@pytest.mark.skipif(
    "IRKIT_TEST_LONG" not in os.environ, reason="takes a quarter of an hour: set IRKIT_TEST_LONG=1"
)
@pytest.mark.timeout(3600)
def test_scifact(test_data: Path, tmp_path: Path) -> None:
    """Dense: the published figure of all-MiniLM-L6-v2 on BEIR. Takes minutes: the collection is encoded twice."""
    store = Store(tmp_path)
    collection = collection_of(test_data, "scifact", store)
    assert score(Dense(k=100), collection, store, "ndcg_cut.10") == pytest.approx(0.645, abs=0.003)
    assert score(MaxSim(k=100), collection, store, "ndcg_cut.10") >= 0.70
