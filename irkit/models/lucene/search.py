"""Batches of queries over a Lucene index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irkit.core.errors import StoreError
from irkit.core.rankings import Rankings, offsets_of
from irkit.core.text import well_formed
from irkit.models.lucene.analysis import AnalyzerName, analyze, analyzer
from irkit.models.lucene.hits import Search, decode
from irkit.models.lucene.index import FIELD, FOLDER, directory
from irkit.models.lucene.jvm import java_class, java_list, spread, using_java
from irkit.store import Artifact


class Searcher:
    """BM25 over one index, as Lucene computes it, in float32: the sum over the query's terms t of

        w_t idf_t tf / (tf + k1 (1 - b + b |d| / avgdl)),   idf_t = ln(1 + (N - df + 0.5) / (df + 0.5))

    N and avgdl count the documents that have a term; |d| is kept in one byte, exact up to 40 terms (Lucene's norm).
    w_t is how often the query has the term or, with ``query_side``,

        idf_t qtf / (qtf + k1 (1 - b + b |q| / avgdl))

    as in Anserini's QuerySideBm25QueryGenerator; times k1 + 1 it is what gensim's LuceneBM25Model gives
    BRIGHT's paper.

    Lucene adds a document's term scores in double precision and rounds the sum once to float32. The order in
    which it adds them may depend on the depth, so between two depths a score may differ in its last bit; at
    one depth it cannot.

    Args:
        artifact: the index, as :func:`irkit.models.lucene.index.build_index` makes it.
        how: the analyser it was made with.
        n: the number of documents.
        k1: how slowly a term's count saturates.
        b: how much a document's length matters.
        query_side: weigh the query's terms by BM25 as well.

    Raises:
        StoreError: when the folder is not an index of ``n`` documents.
    """

    def __init__(
        self,
        artifact: Artifact,
        how: AnalyzerName,
        n: int,
        *,
        k1: float = 0.9,
        b: float = 0.4,
        query_side: bool = False,
    ) -> None:
        self._where, self._last = str(artifact.file(FOLDER)), n - 1
        with using_java(self._where):
            self._reader = java_class("org.apache.lucene.index.DirectoryReader").open(
                directory(artifact.file(FOLDER))
            )
            if self._reader.maxDoc() != n or self._reader.hasDeletions():
                message = f"the index has {self._reader.numDocs()} documents, the collection {n}"
                raise StoreError.of(
                    message, where=self._where, hint="remove it with: irkit store gc --broken"
                )
            self._analyzer = analyzer(how)
            self._blank = (
                self._reader.getDocCount(FIELD) == 0
            )  # no statistics to compute with, and nothing to find
            searcher = java_class("org.apache.lucene.search.IndexSearcher")(
                self._reader, signature="(Lorg/apache/lucene/index/IndexReader;)V"
            )
            searcher.setSimilarity(java_class("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
            queries = "io.anserini.search.query"
            if query_side:
                generator = java_class(f"{queries}.QuerySideBm25QueryGenerator")(k1, b, self._reader)
            else:
                generator = java_class(f"{queries}.BagOfWordsQueryGenerator")()
            self._search = Search(searcher, generator, self._analyzer, FIELD)

    def search(self, texts: Sequence[str], depth: int, *, threads: int = 1) -> Rankings:
        """Return the best ``depth`` documents for each text; one without a term of the index finds none."""
        with using_java(self._where):
            return self._run(self._search.of_texts(depth), [well_formed(text) for text in texts], threads)

    def search_terms(
        self, queries: Sequence[Mapping[str, float]], depth: int, *, threads: int = 1
    ) -> Rankings:
        """Return the best ``depth`` documents for queries given as weights ``w_t``, in place of ``query_side``'s.

        Args:
            queries: per query, the weight of each term as :meth:`analyze` writes it; 0 leaves the term out.
            depth: how many documents to return.
            threads: how many queries are run at the same time.

        Raises:
            ValueError: for a weight that is negative or not finite.
        """
        with using_java(self._where):
            built = [java_list([self._query(weights)]) for weights in queries]
            return self._run(self._search.of_queries(depth), built, threads)

    def analyze(self, text: str) -> list[str]:
        """Return the terms of a text, in their order."""
        with using_java(self._where):
            return analyze(self._analyzer, text)

    def close(self) -> None:
        """Let go of the index's files."""
        with using_java(self._where):
            self._reader.close()

    def _run(self, function: Any, queries: list[Any], threads: int) -> Rankings:
        if self._blank or not queries:
            return Rankings.empty(len(queries))
        results = spread(function, queries, threads)
        hits = decode(results)
        offsets = offsets_of([len(result) // hits.itemsize for result in results])
        return Rankings(
            offsets, (self._last - hits["doc"]).astype(np.int32), hits["score"].astype(np.float32)
        )

    def _query(self, weights: Mapping[str, float]) -> Any:
        builder = java_class("org.apache.lucene.search.BooleanQuery$Builder")()
        should = java_class("org.apache.lucene.search.BooleanClause$Occur").SHOULD
        term, of_term = (
            java_class("org.apache.lucene.index.Term"),
            java_class("org.apache.lucene.search.TermQuery"),
        )
        boosted = java_class("org.apache.lucene.search.BoostQuery")
        for text, weight in sorted(weights.items()):
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(f"the weight of the term {text!r} is {weight}")
            if weight > 0:
                builder.add(boosted(of_term(term(FIELD, well_formed(text))), float(weight)), should)
        return builder.build()
