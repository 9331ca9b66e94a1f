"""BM25 on real collections, against the scores that Anserini and the collections' authors publish.

nDCG@10 is computed by pytrec_eval, so it does not rest on irkit's own evaluation.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytrec_eval

from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.store import Store

pytestmark = [pytest.mark.java, pytest.mark.slow]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def measured(data: Path, store: Store, name: str, stage: BM25, measure: str) -> float:
    if not (data / name).is_dir():
        pytest.skip(f"{name} is not among the test collections")
    collection = open_collection(LocalSpec(path=str(data / name)), store, base=data)
    found = stage.run(Batch(collection.queries), stage.prepare(Context(collection, store)))
    run = {
        qid: {
            collection.docs.docno(code): float(score)
            for code, score in zip(docs.tolist(), scores, strict=True)
        }
        for qid, (docs, scores) in zip(collection.queries.qid, found, strict=True)
    }
    qrels = judgements(collection)
    values = pytrec_eval.RelevanceEvaluator(qrels, {measure}).evaluate(run)
    return sum(value[measure.replace(".", "_")] for value in values.values()) / len(qrels)


def judgements(collection: Collection) -> dict[str, dict[str, int]]:
    names = collection.qrels.unknown
    result: dict[str, dict[str, int]] = {}
    for row, qid in enumerate(collection.queries.qid):
        codes, gains = collection.qrels[row]
        n = len(collection.docs)
        docnos = [collection.docs.docno(c) if c < n else names[c - n] for c in codes.tolist()]
        if docnos:
            result[qid] = dict(zip(docnos, gains.tolist(), strict=True))
    return result


@pytest.mark.parametrize(
    ("name", "analyzer", "measure", "published", "tolerance"),
    [
        ("scifact", "porter", "ndcg_cut.10", 0.6789, 0.003),  # Anserini, BEIR flat
        ("nfcorpus", "porter", "ndcg_cut.10", 0.3218, 0.003),  # Anserini, BEIR flat
        ("limit-small", "porter", "recall.2", 0.978, 0.008),  # LIMIT, table of LIMIT-small
        ("scifact", "snowball", "ndcg_cut.10", 0.680, 0.003),
        ("cacm", "porter", "map", 0.3123, 0.02),  # Anserini's regression, over other fields of CACM as well
        ("cacm", "snowball", "map", 0.311, 0.02),
        ("vaswani", "snowball", "ndcg_cut.10", 0.441, 0.01),
    ],
)
def test_published_scores(
    test_data: Path, store: Store, name: str, analyzer: str, measure: str, published: float, tolerance: float
) -> None:
    stage = BM25(k=1000, analyzer=analyzer)  # type: ignore[arg-type]
    assert measured(test_data, store, name, stage, measure) == pytest.approx(published, abs=tolerance)
