"""The forward index against the texts, against Lucene's statistics and term vectors, and against itself cut another way."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from toys import toy_collection

from irkit.core.errors import StoreError
from irkit.data.docstore import DocStore
from irkit.models.lucene.analysis import AnalyzerName, analyze, analyzer
from irkit.models.lucene.forward import (
    DIGITS,
    LETTERS,
    LONG,
    PLAIN,
    SHORT,
    ForwardIndex,
    build_forward,
    forward_recipe,
)
from irkit.models.lucene.index import FIELD, FOLDER, build_index, directory, recipe
from irkit.models.lucene.jvm import java_class, using_java
from irkit.models.lucene.terms import TermCutter
from irkit.store import Artifact, Build, Store

pytestmark = pytest.mark.java

TEXTS = [
    "Running gene, genes' the 1999 b2b naïve x",
    "",
    "the of",
    "gene " * 300 + "z" * 21,
    "日本 \U0001f600 ﬃ a_b \ufffd end.",
    "two\nlines\r\nand\ttabs\u2028more\u0085next \ud83d",
]


def docs_of(folder: Path, texts: list[str]) -> DocStore:
    return toy_collection(
        folder,
        {f"d{row:03d}": text.encode("utf-8", "replace").decode() for row, text in enumerate(texts)},
        qrels={},
    ).docs


def built(folder: Path, docs: DocStore, how: AnalyzerName = "porter", **options: int) -> Artifact:
    store = Store(folder)
    return store.get(forward_recipe("docs", how), lambda build: build_forward(build, docs, how, **options))


def bag(index: ForwardIndex, code: int) -> dict[str, int]:
    ids, counts = index[code]
    assert (np.diff(ids) > 0).all()
    return dict(zip(index.terms.many(ids), counts.tolist(), strict=True))


@pytest.mark.parametrize("how", ["porter", "whitespace", "zh", "ja", "none"])
def test_documents_are_the_bags_of_their_terms(tmp_path: Path, how: AnalyzerName) -> None:
    docs = docs_of(tmp_path / "docs", TEXTS)
    index = ForwardIndex(built(tmp_path / "store", docs, how), len(docs))
    with using_java("."):
        wanted = [Counter(analyze(analyzer(how), docs.text(code))) for code in range(len(docs))]
    assert [bag(index, code) for code in range(len(docs))] == wanted
    assert index.filled == sum(map(bool, wanted))
    total = sum(wanted, Counter())
    assert index.terms.many(range(len(index.terms))) == sorted(total, key=lambda t: t.encode("utf-16-be"))
    for row, term in enumerate(index.terms.many(range(len(index.terms)))):
        assert index.number(term) == row
        assert index.cf[row] == total[term]
        assert index.df[row] == sum(term in each for each in wanted)
    assert index.number("absent") is None
    assert index.number("") is None
    assert index.number("\U0010ffff") is None


def test_kinds(tmp_path: Path) -> None:
    words = {
        "x": SHORT | LETTERS | PLAIN,
        "xy": LETTERS | PLAIN,
        "w" * 20: LETTERS | PLAIN,
        "w" * 21: LETTERS | PLAIN | LONG,
        "7": SHORT | DIGITS | PLAIN,
        "77": DIGITS | PLAIN,
        "b2b": PLAIN,
        "naïve": 0,
        "\U0001f600": 0,  # two characters in Java
        "日": SHORT,
        "Xy": 0,
    }
    docs = docs_of(tmp_path / "docs", [" ".join(words)])
    index = ForwardIndex(built(tmp_path / "store", docs, "whitespace"), 1)
    assert {term: int(index.kinds[index.number(term)]) for term in words} == words


def test_shards_threads_and_interruptions_change_nothing(tmp_path: Path) -> None:
    rng = random.Random(1)
    docs = docs_of(
        tmp_path / "docs",
        [" ".join(rng.choices("abcdefghij", k=rng.randint(0, 9))) + f" w{row % 7}" for row in range(57)],
    )
    one = built(tmp_path / "one", docs, "whitespace")
    many = built(tmp_path / "many", docs, "whitespace", shard=10, threads=3)

    store, seen = Store(tmp_path / "killed"), []

    def killed(build: Build) -> dict[str, object]:
        def advance(n: int) -> None:
            seen.append(n)
            if sum(seen) >= 30:
                raise KeyboardInterrupt

        return dict(build_forward(build, docs, "whitespace", shard=10, advance=advance))

    with pytest.raises(KeyboardInterrupt):
        store.get(forward_recipe("docs", "whitespace"), killed)
    again: list[int] = []
    resumed = store.get(
        forward_recipe("docs", "whitespace"),
        lambda build: build_forward(build, docs, "whitespace", shard=10, advance=again.append),
    )
    assert sum(again) == 57
    for name in ("ids", "tf", "offsets", "bounds", "df", "cf", "kinds"):
        wanted = one.file(f"{name}.npy").read_bytes()
        assert many.file(f"{name}.npy").read_bytes() == wanted
        assert resumed.file(f"{name}.npy").read_bytes() == wanted
    assert one.file("terms.bin").read_bytes() == many.file("terms.bin").read_bytes()


@pytest.mark.parametrize("texts", [[], [""], ["", "the", ""]])
def test_nothing_to_index(tmp_path: Path, texts: list[str]) -> None:
    docs = docs_of(tmp_path / "docs", texts)
    index = ForwardIndex(built(tmp_path / "store", docs), len(docs))
    assert (len(index), len(index.terms), index.filled) == (len(texts), 0, 0)
    assert [bag(index, code) for code in range(len(texts))] == [{}] * len(texts)
    assert index.number("gene") is None


def test_it_is_lucenes_own_term_vectors(tmp_path: Path) -> None:
    docs = docs_of(tmp_path / "docs", TEXTS)
    forward = ForwardIndex(built(tmp_path / "store", docs), len(docs))
    kept = Store(tmp_path / "lucene").get(
        recipe("docs", "porter", docvectors=True),
        lambda build: build_index(build, docs, "porter", docvectors=True),
    )
    with using_java("."):
        reader = java_class("org.apache.lucene.index.DirectoryReader").open(directory(kept.file(FOLDER)))
        for code in range(len(docs)):
            terms, found = reader.termVectors().get(len(docs) - 1 - code, FIELD), {}
            each = terms.iterator() if terms else None
            while each and (term := each.next()):
                found[term.utf8ToString()] = each.totalTermFreq()
            assert found == bag(forward, code)
        term = java_class("org.apache.lucene.index.Term")
        for row, text in enumerate(forward.terms.many(range(len(forward.terms)))):
            assert forward.df[row] == reader.docFreq(term(FIELD, text))
        assert forward.filled == reader.getDocCount(FIELD)
        reader.close()


def test_an_index_of_other_documents_is_refused(tmp_path: Path) -> None:
    docs = docs_of(tmp_path / "docs", ["gene"])
    with pytest.raises(StoreError, match="1 documents, the collection 2"):
        ForwardIndex(built(tmp_path / "store", docs), 2)


@pytest.mark.parametrize("how", get_args(AnalyzerName))
def test_no_analyzer_writes_a_line_break_into_a_term(how: AnalyzerName) -> None:
    texts = [" ".join(TEXTS), "a\nb\r\nc\u2028d\u2029e\x0bf\x0cg\x85h", "", "\n\n"]
    found = TermCutter(how, ".").terms(texts, threads=2)
    with using_java("."):
        by = analyzer(how)
        assert found == [analyze(by, text) for text in texts]
