"""Lucene's results against the formula, against Anserini's own searcher, and against themselves cut another way."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError, StoreError
from irkit.core.rankings import Rankings
from irkit.data.build import build_docs
from irkit.data.docstore import DocStore, Document
from irkit.data.source import Table
from irkit.models.lucene.analysis import AnalyzerName, analyze, analyzer
from irkit.models.lucene.index import build_index, recipe
from irkit.models.lucene.jvm import java_class, java_list, using_java
from irkit.models.lucene.search import Searcher
from irkit.store import Artifact, Build, Recipe, Store

pytestmark = pytest.mark.java

WORDS = [f"w{i}" for i in range(30)]


def make_docs(store: Store, texts: Sequence[str], docnos: Sequence[str] | None = None) -> DocStore:
    names = docnos or [f"d{i:04d}" for i in range(len(texts))]
    documents = [Document(name, "", text) for name, text in zip(names, texts, strict=True)]
    table = Table("test", lambda: iter(enumerate(documents, 1)))
    made = store.get(
        Recipe("docs", {"rows": [list(d) for d in documents]}), lambda build: build_docs(table, build)
    )
    return DocStore(made.path)


def make_index(
    store: Store, docs: DocStore, how: AnalyzerName = "whitespace", tag: str = "", **options: object
) -> Artifact:
    return store.get(
        recipe(f"test{tag}", how, docvectors=bool(options.get("docvectors"))),
        lambda build: build_index(build, docs, how, **options),  # type: ignore[arg-type]
    )


def texts_of(seed: int, n: int, longest: int = 12) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(0, longest))) for _ in range(n)]


def formula(
    texts: Sequence[str], query: dict[str, float], k1: float, b: float, *, query_side: bool = False
) -> dict[int, float]:
    """BM25 from its definition; documents of at most 39 terms, whose lengths Lucene keeps exactly."""
    bags = [Counter(text.split()) for text in texts]
    filled = [bag for bag in bags if bag]
    if not filled:
        return {}  # nothing to find
    n, mean = len(filled), sum(bag.total() for bag in filled) / len(filled)
    scores: dict[int, float] = {}
    for term, weight in query.items():
        df = sum(term in bag for bag in filled)
        idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
        if query_side:
            weight = idf * weight / (weight + k1 * (1 - b + b * sum(query.values()) / mean))  # noqa: PLW2901
        for code, bag in enumerate(bags):
            if tf := bag[term]:
                gain = weight * idf * tf / (tf + k1 * (1 - b + b * bag.total() / mean))
                scores[code] = scores.get(code, 0.0) + gain
    return scores


def assert_is(found: Rankings, query: int, expected: dict[int, float]) -> None:
    docs, scores = found[query]
    assert set(docs.tolist()) == set(expected)
    np.testing.assert_allclose(scores, [expected[code] for code in docs.tolist()], rtol=2e-6)


def assert_canonical(found: Rankings) -> None:
    assert found == Rankings.build(found.offsets, found.doc, found.score)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store(Path(folder))


@settings(max_examples=12, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(" ".join), min_size=1, max_size=25),
    queries=st.lists(st.lists(st.sampled_from("abcdef"), max_size=5).map(" ".join), min_size=1, max_size=4),
    k1=st.sampled_from([0.0, 0.9, 2.5]),
    b=st.sampled_from([0.0, 0.4, 1.0]),
    query_side=st.booleans(),
    shard=st.integers(1, 9),
    depth=st.integers(1, 8),
)
def test_scores_are_the_formula_s_and_the_top_is_exact(
    texts: list[str], queries: list[str], k1: float, b: float, query_side: bool, shard: int, depth: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        docs = make_docs(store, texts)
        index = make_index(store, docs, shard=shard)
        searcher = Searcher(index, "whitespace", len(docs), k1=k1, b=b, query_side=query_side)
        found = searcher.search(queries, 1000)
        for row, query in enumerate(queries):
            assert_is(found, row, formula(texts, Counter(query.split()), k1, b, query_side=query_side))
        assert_canonical(found)
        assert searcher.search(queries, depth) == found.top(depth)
        searcher.close()


def test_shards_and_threads_change_nothing_ties_included(store: Store) -> None:
    texts = texts_of(1, 150, longest=3)  # short texts of few words: most scores are shared by many documents
    docs = make_docs(store, texts)
    queries = texts_of(2, 60, longest=4)
    whole = Searcher(make_index(store, docs, tag="whole"), "whitespace", len(docs)).search(queries, 10)
    lengths, ties = whole.lengths, 0
    for shard, threads in ((7, 3), (67, 2)):
        index = make_index(store, docs, tag=f"{shard}", shard=shard)
        searcher = Searcher(index, "whitespace", len(docs))
        assert searcher.search(queries, 10, threads=threads) == whole
        assert Rankings.concat([searcher.search([query], 10) for query in queries]) == whole
    full = Searcher(make_index(store, docs, tag="whole"), "whitespace", len(docs)).search(queries, 400)
    for row in range(len(queries)):
        if full.lengths[row] > 10:
            ties += int(full[row][1][9] == full[row][1][10])
    assert lengths.max() == 10
    assert ties > 10  # the boundary itself is tied in many queries


def test_an_interrupted_build_goes_on_from_its_shards(store: Store) -> None:
    texts = texts_of(3, 100)
    docs = make_docs(store, texts)
    seen: list[int] = []

    def fail(n: int) -> None:
        seen.append(n)
        if sum(seen) > 60:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        make_index(store, docs, tag="killed", shard=20, advance=fail)
    written: list[str] = []
    original = Build.shard

    def spy(self: Build, name: str, write: object) -> Path:
        if not self.has_shard(name):
            written.append(name)
        return original(self, name, write)  # type: ignore[arg-type]

    done: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Build, "shard", spy)
        index = make_index(store, docs, tag="killed", shard=20, advance=done.append)
    assert written == ["39-20", "19-0"]
    assert sum(done) == 100
    fresh = make_index(store, docs, tag="fresh")
    queries = texts_of(4, 30)
    assert Searcher(index, "whitespace", 100).search(queries, 10) == Searcher(
        fresh, "whitespace", 100
    ).search(queries, 10)


def test_an_id_that_lucene_cannot_hold_is_named(store: Store) -> None:
    docs = make_docs(store, ["a"] * 3, ["a", "b", "x" * 40_000])
    with pytest.raises(DataError, match="40000 bytes"):
        make_index(store, docs, tag="long id")


def test_anserini_s_own_searcher_agrees_on_the_same_index(store: Store) -> None:
    """Anserini rounds scores to four decimals, then lowers what is equal by 1e-6 a document, to order it by id."""
    docs = make_docs(store, texts_of(5, 500, longest=60))
    index = make_index(store, docs, "porter", tag="parity", shard=100)
    queries = texts_of(6, 20)
    for k1, b in ((0.9, 0.4), (1.2, 0.75)):
        ours = Searcher(index, "porter", len(docs), k1=k1, b=b).search(queries, 1000, threads=2)
        with using_java("test"):
            theirs = java_class("io.anserini.search.SimpleSearcher")(str(index.file("lucene")))
            theirs.set_bm25(k1, b)
            for row, query in enumerate(queries):
                got = {docs.code(hit.docid): hit.score for hit in theirs.search(query, 1000)}
                codes, scores = ours[row]
                assert set(codes.tolist()) == set(got)
                bound = 5.1e-5 + 1e-6 * len(codes)
                np.testing.assert_allclose(scores, [got[code] for code in codes.tolist()], rtol=0, atol=bound)
            theirs.close()


def test_hits_cross_to_python_bit_by_bit(store: Store) -> None:
    docs = make_docs(store, texts_of(13, 100))
    index = make_index(store, docs, tag="bits")
    searcher = Searcher(index, "whitespace", len(docs))
    found = searcher.search(["w1 w2 w3 w4"], 50)
    with using_java("test"):
        lucene = java_class("org.apache.lucene.search.IndexSearcher")(
            searcher._reader, signature="(Lorg/apache/lucene/index/IndexReader;)V"
        )
        lucene.setSimilarity(java_class("org.apache.lucene.search.similarities.BM25Similarity")(0.9, 0.4))
        hits = lucene.search(searcher._query(dict.fromkeys(["w1", "w2", "w3", "w4"], 1.0)), 50).scoreDocs
        stored = lucene.storedFields()
        expected = [(docs.code(stored.document(hit.doc).get("id")), np.float32(hit.score)) for hit in hits]
    assert list(zip(found.doc.tolist(), found.score, strict=True)) == expected


def test_threads_of_the_caller_do_not_disturb_each_other(store: Store) -> None:
    """pyjnius keeps the object of a call on the class: without a lock, searches over two indexes would mix."""
    queries = texts_of(14, 200)
    pairs = []
    for seed in (15, 16, 17):
        docs = make_docs(store, texts_of(seed, 200))
        pairs.append(
            Searcher(make_index(store, docs, tag=f"caller {seed}"), "whitespace", len(docs), k1=seed / 10)
        )
    alone = [searcher.search(queries, 10) for searcher in pairs]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            together = list(
                pool.map(lambda searcher: searcher.search(queries, 10, threads=2), [*pairs, *pairs])
            )
            assert together == [*alone, *alone]


def test_query_side_weights_are_anserini_s(store: Store) -> None:
    texts = texts_of(7, 200)
    docs = make_docs(store, texts)
    index = make_index(store, docs, tag="query side")
    queries = [" ".join(random.Random(i).choices(WORDS, k=60)) for i in range(10)]
    found = Searcher(index, "whitespace", len(docs), query_side=True).search(queries, 1000)
    plain = Searcher(index, "whitespace", len(docs)).search(queries, 1000)
    for row, query in enumerate(queries):
        assert_is(found, row, formula(texts, Counter(query.split()), 0.9, 0.4, query_side=True))
    assert found != plain


def test_weighted_terms_are_searched_as_texts_are(store: Store) -> None:
    texts = texts_of(8, 200)
    docs = make_docs(store, texts)
    index = make_index(store, docs, tag="terms")
    searcher = Searcher(index, "whitespace", len(docs), k1=1.1, b=0.6)
    queries = texts_of(9, 20)
    counted = [{**Counter(searcher.analyze(query)), "unused": 0.0} for query in queries]
    assert searcher.search_terms(counted, 50, threads=2) == searcher.search(queries, 50)
    weighted = {"w1": 0.25, "w2": 3.0, "nowhere": 1.0}
    assert_is(searcher.search_terms([{}, weighted], 1000), 1, formula(texts, weighted, 1.1, 0.6))
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="'w1'"):
            searcher.search_terms([{"w1": bad}], 10)


HOSTILE = [
    "", " \t\n", "the of and", "{}[]()<>", '"unclosed', "a AND (b OR", "field:value^2 ~ * ? \\", "\0", "w1\0w2", "\ud800 w1",
    "w1" * 100_000, "w1 " * 300_000, " ".join(f"t{i}" for i in range(20_000)), "😀 \U0001d538 日本語", "\u202e\ufeff",
]  # fmt: skip


@pytest.mark.parametrize("query_side", [False, True])
def test_hostile_texts_neither_crash_nor_disturb_their_neighbours(store: Store, query_side: bool) -> None:
    texts = [*texts_of(10, 50), "", " ", "\0", "{", "😀 w1", "x" * 1_000_000, "t1 " * 5000]
    docs = make_docs(store, texts)
    index = make_index(store, docs, "porter", tag="hostile", shard=9)
    searcher = Searcher(index, "porter", len(docs), query_side=query_side)
    found = searcher.search([*HOSTILE, "w1"], 20, threads=2)
    assert len(found) == len(HOSTILE) + 1
    assert found.take([len(HOSTILE)]) == searcher.search(["w1"], 20)
    for text in ("", " \t\n", "the of and", "{}[]()<>", "\0"):
        assert found.lengths[HOSTILE.index(text)] == 0
    for text in ("w1\0w2", "\ud800 w1", "w1 " * 300_000, " ".join(f"t{i}" for i in range(20_000))):
        assert found.lengths[HOSTILE.index(text)] > 0
    assert_canonical(found)
    assert len(searcher.search([], 10)) == 0


@pytest.mark.parametrize("query_side", [False, True])
def test_documents_without_a_term_are_never_found(store: Store, query_side: bool) -> None:
    docs = make_docs(store, ["", "the", "..."])
    index = make_index(store, docs, "porter", tag="blank")
    assert Searcher(index, "porter", 3, query_side=query_side).search(["anything", ""], 5) == Rankings.empty(
        2
    )


def test_an_index_of_other_documents_is_refused(store: Store) -> None:
    docs = make_docs(store, ["a", "b"])
    with pytest.raises(StoreError, match="2 documents, the collection 3"):
        Searcher(make_index(store, docs, tag="two"), "whitespace", 3)


def test_a_damaged_index_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    store = Store(tmp_path)
    index = make_index(store, make_docs(store, ["a", "b"]))
    for file in index.file("lucene").glob("segments*"):
        file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(StoreError, match="irkit store verify"):
        Searcher(index, "whitespace", 2)


def test_no_lock_file_gets_into_the_artifact(store: Store) -> None:
    index = make_index(store, make_docs(store, ["a", "b"]), tag="files")
    assert not [name for name in index.manifest["files"] if "lock" in name]
    assert index.meta["documents"] == 2


def test_docvectors_are_kept_on_demand_and_change_no_score(store: Store) -> None:
    texts = texts_of(11, 60)
    docs = make_docs(store, texts)
    plain, rich = (
        make_index(store, docs, tag="vec"),
        make_index(store, docs, tag="vec", docvectors=True, shard=25),
    )
    assert plain.key != rich.key
    queries = texts_of(12, 10)
    one, two = Searcher(plain, "whitespace", 60), Searcher(rich, "whitespace", 60)
    assert one.search(queries, 60) == two.search(queries, 60)
    code = max(range(60), key=lambda c: len(texts[c]))
    with using_java("test"):
        vector = java_class("io.anserini.index.IndexReaderUtils").getDocumentVector(
            two._reader, docs.docno(code)
        )
        assert {key: vector.get(key) for key in WORDS if vector.get(key)} == dict(
            Counter(texts[code].split())
        )


@pytest.mark.parametrize(
    ("name", "text", "terms"),
    [
        ("porter", "The runners' universities", ["runner", "univers"]),
        ("krovetz", "The runners' universities", ["runner", "university"]),
        ("snowball", "The generously universities' John's", ["generous", "univers", "john"]),
        ("porter", "generously", ["gener"]),
        ("none", "The runners' Universities", ["runners", "universities"]),
        ("whitespace", "The runners' Universities", ["The", "runners'", "Universities"]),
        ("de", "die Häuser", ["haus"]),
        ("zh", "北京大学", ["北京", "京大", "大学"]),
    ],
)
def test_analysers_cut_as_their_names_say(name: AnalyzerName, text: str, terms: list[str]) -> None:
    assert analyze(analyzer(name), text) == terms


def test_every_analyser_s_name_works() -> None:
    for name in AnalyzerName.__args__:  # type: ignore[attr-defined]
        assert analyze(analyzer(name), "2024"), name


def test_recipes_differ_where_indexes_do() -> None:
    keys = {
        recipe("a", "porter").key,
        recipe("b", "porter").key,
        recipe("a", "krovetz").key,
        recipe("a", "porter", docvectors=True).key,
    }
    assert len(keys) == 4


def test_a_list_reaches_java_in_order() -> None:
    assert java_list(["b", "a"]).toString() == "[b, a]"
