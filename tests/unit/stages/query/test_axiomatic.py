"""Axiomatic semantic matching against its formula, and Java's random numbers and hash tables against Java's own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import prf
import pytest

from irkit.core.rankings import Rankings
from irkit.models.lucene.jvm import java_class, using_java
from irkit.pipeline.context import Context
from irkit.stages.query.axiomatic import Axiomatic
from irkit.stages.query.java import place, random_below
from irkit.testing import check_stage

pytestmark = pytest.mark.java

QUERIES = ["bado cine bado gusk", "kine nothing-known 1999", "gine"]
TEXTS = prf.texts(9)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return prf.context_of(tmp_path_factory.mktemp("axiomatic"), TEXTS)


def stage(**options: object) -> Axiomatic:
    return Axiomatic(analyzer="whitespace", **options)  # type: ignore[arg-type]


def pool_of(first: Sequence[int], size: int, seed: int) -> set[int]:
    pool, drawn = set(first), random_below(seed, prf.N)
    while len(pool) < size:
        pool.add(next(drawn))
    return pool


def information(x: set[int], y: set[int], n: int) -> float:
    """Return the sum over having and not having of p(x, y) ln(p(x, y) / p(x) p(y))."""
    total = 0.0
    for both, has_x, has_y in (
        (len(x & y), len(x), len(y)),
        (len(x - y), len(x), n - len(y)),
        (len(y - x), n - len(x), len(y)),
        (n - len(x | y), n - len(x), n - len(y)),
    ):
        if both:
            total += both / n * math.log(both * n / (has_x * has_y))
    return total


def formula(query: str, pool: set[int], beta: float, k: int, top: int) -> dict[str, float]:
    bags, df = prf.bags(TEXTS), prf.frequency(TEXTS)
    lists: dict[str, set[int]] = {}
    for doc in pool:
        for term in bags[doc]:
            if re.fullmatch("[a-z]{2,}", term):
                lists.setdefault(term, set()).add(doc)
    n = len(set().union(*lists.values()))
    total: Counter[str] = Counter()
    for term, qtf in Counter(query.split()).items():
        if term in lists:
            idf = math.log((prf.N + 1) // df[term])
            own = information(lists[term], lists[term], n)
            worth = {
                t: idf * qtf * (1 if t == term else beta * information(lists[term], docs, n) / own)
                for t, docs in lists.items()
            }
            half = min(math.ceil(len(worth) / 2), max(k, top))
            for t, w in prf.first_terms(worth, half).items():
                if w > 1e-8:
                    total[t] += w  # type: ignore[assignment]
    wanted = prf.first_terms(total, min(math.ceil(len(total) / 2), top))
    return {term: weight / len(query.split()) for term, weight in wanted.items()}


@pytest.mark.parametrize(
    ("fb_docs", "n", "k", "top", "seed"),
    [(8, 4, 1000, 20, 42), (5, 1, 1000, 12, 1), (8, 4, 7, 5, 7), (20, 30, 1000, 20, 42)],
)
def test_formula(context: Context, fb_docs: int, n: int, k: int, top: int, seed: int) -> None:
    first = prf.feedback(1, len(QUERIES), documents=25)
    it = stage(fb_docs=fb_docs, n=n, k=k, top=top, seed=seed, beta=0.6)
    found, _ = prf.expand(it, context, QUERIES, first)
    for query, weights, (docs, _) in zip(QUERIES, found, first, strict=True):
        whole = fb_docs * n >= prf.N
        pool = set(range(prf.N)) if whole else pool_of(docs[:fb_docs].tolist(), fb_docs * n, seed)
        wanted = formula(query, pool, 0.6, k, top)
        if weights is None:
            assert not wanted
            continue
        shared = set(weights) & set(wanted)  # equal weights may be cut apart otherwise in double precision
        least = min(wanted.values())
        assert len(weights) == len(wanted)
        assert all(wanted[term] < least * (1 + 1e-4) for term in set(wanted) - shared)
        prf.assert_weights({t: weights[t] for t in shared}, {t: wanted[t] for t in shared}, query)


def test_the_seed_counts_and_scores_do_not(context: Context) -> None:
    first = prf.feedback(1, 1)
    high, low = first, Rankings.from_lists([first[0][0]], [-1.0 - prf.np.arange(15)])
    query = ["bado cine gusk kine"]
    assert prf.expand(stage(fb_docs=8, n=3), context, query, high) == prf.expand(
        stage(fb_docs=8, n=3), context, query, low
    )
    assert (
        prf.expand(stage(fb_docs=8, n=3), context, query, high)[0]
        != prf.expand(stage(fb_docs=8, n=3, seed=5), context, query, high)[0]
    )


def test_no_feedback_leaves_the_query(context: Context) -> None:
    first = Rankings.from_lists([[0, 1], []], [[2.0, 1.0], []])
    assert prf.expand(stage(fb_docs=0), context, ["bado"] * 2, first)[0] == [None, None]
    assert prf.expand(stage(), context, ["bado"] * 2, first)[0][1] is None
    found, ((line,),) = prf.expand(stage(), context, ["nothing-known"], first.take([0]))
    assert found == [None]
    assert line.startswith("axiomatic: the query as it was")


def test_a_term_of_every_document_in_the_pool_is_lost(tmp_path: Path) -> None:
    """I(q, q) is 0 then, and what it divides is not a number."""
    context = prf.context_of(tmp_path, ["bado cine"] * 3 + ["bado gusk"] * 3)
    first = Rankings.from_lists([[0, 1]], [[2.0, 1.0]])
    assert prf.expand(stage(), context, ["bado"], first)[0] == [None]


def test_anserini_names_of_options() -> None:
    assert stage(r=3) == stage(fb_docs=3)
    it = Axiomatic()
    assert (it.fb_docs, it.n, it.k, it.top, it.beta, it.seed) == (20, 30, 1000, 20, 0.4, 42)


@pytest.mark.parametrize("bound", [1, 16, 80, 11429, 2**30 + 1, 2**31 - 1])
def test_random_numbers_are_javas(bound: int) -> None:
    for seed in (42, 0, -7, 2**40):
        with using_java("."):
            random = java_class("java.util.Random")(seed, signature="(J)V")
            wanted = [random.nextInt(bound) for _ in range(50)]
        assert list(islice(random_below(seed, bound), 50)) == wanted


def test_hash_tables_are_javas() -> None:
    for size in (5, 12, 13, 97, 800):
        words = [
            f"{word}{row}"
            for row in range(size)
            for word in (["naïve", "日本", "cell", "\U0001f600"][row % 4],)
        ]
        with using_java("."):
            table = java_class("java.util.HashSet")()
            for word in words:
                table.add(word)
            visited = list(table.toArray())
        assert sorted(words, key=lambda word: place(word, size)) == visited


def test_contract(tmp_path: Path) -> None:
    check_stage(Axiomatic(fb_docs=2, n=3), tmp_path, other_execution={"threads": 1})
