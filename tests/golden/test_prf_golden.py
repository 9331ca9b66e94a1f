"""Lexical feedback on real collections, against Anserini's own code on the same index: every score of every query.

RM3 and Rocchio are compared with the searcher that pyserini's LuceneSearcher is, which rounds scores to four decimals and lowers
equal ones by 1e-6 each; BM25PRF and axiomatic matching, which pyserini does not offer, with Anserini's classes, which do not round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from irkit.core.rankings import Rankings, ScoreArray
from irkit.data.collection import Collection
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.models.lucene.analysis import analyzer
from irkit.models.lucene.index import FIELD, FOLDER, build_index, directory, recipe
from irkit.models.lucene.jvm import java_class, java_list, using_java
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.stages.query.axiomatic import Axiomatic
from irkit.stages.query.bm25prf import BM25PRF
from irkit.stages.query.lexical import LexicalFeedback
from irkit.stages.query.rm3 import RM3
from irkit.stages.query.rocchio import Rocchio
from irkit.store import Store

pytestmark = [pytest.mark.java, pytest.mark.slow]

K, CUT = 200, 50
LIB = "io.anserini.rerank.lib."


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def opened(data: Path, name: str, store: Store) -> tuple[Context, str]:
    """Return a collection, and the folder of its index with term vectors."""
    if not (data / name).is_dir():
        pytest.skip(f"{name} is not among the test collections")
    collection = open_collection(LocalSpec(path=str(data / name)), store, base=data)
    index = store.get(
        recipe(collection.docs_fingerprint, "porter", docvectors=True),
        lambda build: build_index(build, collection.docs, "porter", docvectors=True),
    )
    return Context(collection, store), str(index.file(FOLDER))


def searched(stage: LexicalFeedback, context: Context, believed: int, k: int = K) -> Rankings:
    """Return BM25 over the terms that a stage gives, from the documents that Anserini believes: equal ones by id, ascending."""
    queries, search = context.collection.queries, BM25(k=k)
    state = search.prepare(context)
    docs, scores = [], []
    for doc, score in BM25(k=CUT).run(Batch(queries), state):
        order = np.lexsort((doc, -score))[:believed]
        docs.append(doc[order])
        scores.append(score[order])
    first = Rankings.from_lists(docs, scores)
    return search.run(Batch(stage.run(Batch(queries, (first,)), stage.prepare(context))), state)


def lowered(scores: ScoreArray) -> list[float]:
    """Return by how much Anserini lowers each of these scores, best first, to part equal ones."""
    result: list[float] = []
    for row, score in enumerate(np.round(scores.astype(np.float64), 4)):
        apart = row == 0 or scores[row - 1] - result[-1] - score > 1e-4
        result.append(0.0 if apart else result[-1] + 1e-6)
    return result


@pytest.mark.parametrize("name", ["vaswani", "scifact", "nfcorpus"])
@pytest.mark.parametrize(
    ("stage", "believed", "tell"),
    [
        (RM3(), 10, lambda peer: peer.set_rm3(10, 10, 0.5)),
        (
            RM3(fb_terms=20, fb_docs=5, original_query_weight=0.3),
            5,
            lambda peer: peer.set_rm3(20, 5, 0.3),
        ),
        (Rocchio(), 10, lambda peer: peer.set_rocchio()),
    ],
    ids=["rm3", "rm3-20-5", "rocchio"],
)
def test_pyserinis_searcher(
    test_data: Path,
    store: Store,
    name: str,
    stage: LexicalFeedback,
    believed: int,
    tell: Callable[[Any], None],
) -> None:
    context, folder = opened(test_data, name, store)
    queries = context.collection.queries
    with using_java(folder):
        peer = java_class("io.anserini.search.SimpleSearcher")(folder)
        peer.set_bm25(0.9, 0.4)
        tell(peer)
        results = peer.batch_search(java_list(queries.text), java_list(queries.qid), K, 2)
        theirs = [np.array([hit.score for hit in results.get(qid)], np.float32) for qid in queries.qid]
        peer.close()
    hits = 0
    for text, (_, ours), other in zip(queries.text, searched(stage, context, believed), theirs, strict=True):
        assert len(ours) == len(other), text
        gap = np.abs(ours - other) - lowered(ours)
        assert (gap <= 1e-4).all(), (text, float(gap.max()))
        hits += len(ours)
    assert hits > 10 * len(queries)


@contextmanager
def rerankers(folder: str) -> Iterator[Callable[[Any, str], dict[int, float]]]:
    """Open an index for Anserini, and yield what a reranker makes of a query: scores by Lucene's document number."""
    with using_java(folder):
        reader = java_class("org.apache.lucene.index.DirectoryReader").open(directory(Path(folder)))
        searcher = java_class("org.apache.lucene.search.IndexSearcher")(
            reader, signature="(Lorg/apache/lucene/index/IndexReader;)V"
        )
        searcher.setSimilarity(java_class("org.apache.lucene.search.similarities.BM25Similarity")(0.9, 0.4))
        generator = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()
        order, by = (
            java_class("io.anserini.search.SearchCollection").BREAK_SCORE_TIES_BY_DOCID,
            analyzer("porter"),
        )
        utils, found_docs = (
            java_class("io.anserini.analysis.AnalyzerUtils"),
            java_class("io.anserini.search.ScoredDocs"),
        )
        options = java_class("io.anserini.search.SearchCollection$Args")()
        options.hits = K

        def rerank(reranker: Any, text: str) -> dict[int, float]:
            query = generator.buildQuery(FIELD, by, text)
            first = found_docs.fromTopDocs(searcher.search(query, CUT, order, True), searcher)
            around = java_class("io.anserini.rerank.RerankerContext")(
                searcher, None, query, None, text, utils.analyze(by, text), None, options
            )
            found = reranker.rerank(first, around)
            return dict(zip(found.lucene_docids, found.scores, strict=True))

        yield rerank
        reader.close()


@pytest.mark.parametrize(
    ("name", "stage", "believed"),
    [
        ("vaswani", BM25PRF(), 10),
        ("scifact", BM25PRF(), 10),
        ("nfcorpus", BM25PRF(), 10),
        (
            "vaswani",
            Axiomatic(),
            20,
        ),  # Anserini remembers the first collection's documents; the others have no second chance
    ],
)
def test_anserinis_rerankers(
    test_data: Path, store: Store, name: str, stage: LexicalFeedback, believed: int
) -> None:
    context, folder = opened(test_data, name, store)
    ours = searched(stage, context, believed)
    last = len(context.collection.docs) - 1
    with rerankers(folder) as rerank:
        how = analyzer("porter")
        if isinstance(stage, BM25PRF):
            peer = java_class(LIB + "BM25PrfReranker")(how, None, FIELD, 20, 10, 0.9, 0.4, 0.2, False)
        else:
            peer = java_class(LIB + "AxiomReranker")(
                how, None, folder, None, FIELD, True, 42, 20, 30, 0.4, 20, None, False, False
            )
        for text, (docs, scores) in zip(context.collection.queries.text, ours, strict=True):
            theirs = rerank(peer, text)
            assert len(theirs) == len(docs), text
            np.testing.assert_allclose(scores, sorted(theirs.values(), reverse=True), rtol=0, atol=1e-4)
            shared = [
                (theirs[last - doc], score)
                for doc, score in zip(docs.tolist(), scores.tolist(), strict=True)
                if last - doc in theirs
            ]
            assert len(shared) >= 0.9 * len(docs)  # equal scores are cut apart by id, in two directions
            for other, score in shared:
                assert score == pytest.approx(other, abs=1e-4), text


@pytest.mark.parametrize(
    ("stage", "published"),
    [(None, 0.3123), (RM3(), 0.3648), (Axiomatic(), 0.3077)],
    ids=["bm25", "rm3", "axiomatic"],
)
def test_cacm(test_data: Path, store: Store, stage: LexicalFeedback | None, published: float) -> None:
    """Anserini's regression, on the documents and judgements that it uses: see ``eval/bench/cacm.py``, which makes the folder."""
    context, _ = opened(test_data, "cacm-anserini", store)
    if stage is None:
        search = BM25(k=1000)
        found = search.run(Batch(context.collection.queries), search.prepare(context))
    else:
        found = searched(stage, context, stage.fb_docs, 1000)
    assert mean_average_precision(context.collection, found) == pytest.approx(published, abs=0.004)


def mean_average_precision(collection: Collection, found: Rankings) -> float:
    docs, unknown = collection.docs, collection.qrels.unknown
    run, judged = {}, {}
    for row, qid in enumerate(collection.queries.qid):
        codes, gains = collection.qrels[row]
        names = [docs.docno(c) if c < len(docs) else unknown[c - len(docs)] for c in codes.tolist()]
        if names:
            judged[qid] = dict(zip(names, gains.tolist(), strict=True))
            run[qid] = dict(
                zip(docs.docnos(found[row][0]), found[row][1].astype(float).tolist(), strict=True)
            )
    values = pytrec_eval.RelevanceEvaluator(judged, {"map"}).evaluate(run)
    return sum(each["map"] for each in values.values()) / len(judged)
