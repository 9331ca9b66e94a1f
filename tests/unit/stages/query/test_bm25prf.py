"""BM25PRF against its formula, and what a later BM25 makes of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import prf
import pytest

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.stages.query.bm25prf import BM25PRF
from irkit.testing import check_stage

pytestmark = pytest.mark.java

QUERIES = ["bado cine bado", "gusk nothing-known", "everywhere x 1999 naïve", "gine"]
TEXTS = prf.texts(5)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return prf.context_of(tmp_path_factory.mktemp("bm25prf"), TEXTS)


def stage(**options: object) -> BM25PRF:
    return BM25PRF(analyzer="whitespace", **options)  # type: ignore[arg-type]


def relevance(query: str, docs: Sequence[int], new: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weights of the query's own terms, and those of all that may be added."""
    df, bags, n, r = prf.frequency(TEXTS), prf.bags(TEXTS), len(TEXTS), len(docs)

    def weight(term: str) -> float:
        inside = sum(term in bags[doc] for doc in docs)
        odds = (inside + 0.5) * (n - df[term] - r + inside + 0.5)
        return math.log(odds / ((df[term] - inside + 0.5) * (r - inside + 0.5)))

    own = {term: max(weight(term), 1e-6) for term in set(query.split()) if df[term]}
    others = {
        term: max(new * weight(term), 1e-6)
        for doc in docs
        for term in bags[doc]
        if term not in own
        and re.fullmatch("(?=.*[a-z])[a-z0-9]{2,20}", term)
        and sum(term in bags[other] for other in docs) >= 2
    }
    return own, others


def idf(term: str) -> float:
    filled, df = sum(map(bool, TEXTS)), prf.frequency(TEXTS)[term]
    return math.log(1 + (filled - df + 0.5) / (df + 0.5))


@pytest.mark.parametrize(("fb_docs", "fb_terms", "new"), [(10, 20, 0.2), (15, 3, 1.0), (30, 300, 0.5)])
def test_formula(context: Context, fb_docs: int, fb_terms: int, new: float) -> None:
    first = prf.feedback(1, len(QUERIES), documents=30)
    it = stage(fb_docs=fb_docs, fb_terms=fb_terms, new_term_weight=new)
    found, _ = prf.expand(it, context, QUERIES, first)
    bags = prf.bags(TEXTS)
    for query, weights, (docs, _) in zip(QUERIES, found, first, strict=True):
        believed = docs[:fb_docs].tolist()
        own, others = relevance(query, believed, new)
        assert weights is not None
        added = set(weights) - set(own)
        assert added <= set(others)
        assert len(added) == min(len(others), fb_terms)
        offers = {t: others[t] * math.log(sum(t in bags[doc] for doc in believed)) for t in others}
        worst = min((offers[t] for t in added), default=0.0)
        assert all(offers[t] <= worst * (1 + 1e-6) for t in set(others) - added)
        chosen = own | {term: others[term] for term in added}
        prf.assert_weights(weights, {term: weight / idf(term) for term, weight in chosen.items()}, query)


def test_a_later_bm25_weighs_terms_by_relevance_and_not_by_idf(context: Context) -> None:
    k1, b = 1.2, 0.3
    search, it = BM25(k=80, analyzer="whitespace", k1=k1, b=b), stage()
    first = prf.feedback(4, 1)
    queries = it.run(Batch(Queries.of(["bado cine"]), (first,)), it.prepare(context))
    (weights,), _ = prf.expand(it, context, ["bado cine"], first)
    assert weights is not None
    bags = prf.bags(TEXTS)
    mean = sum(bag.total() for bag in bags) / sum(map(bool, TEXTS))
    for doc, score in zip(*search.run(Batch(queries), search.prepare(context))[0], strict=True):
        length = 1 - b + b * bags[doc].total() / mean
        wanted = sum(
            weight * idf(term) * bags[doc][term] / (bags[doc][term] + k1 * length)
            for term, weight in weights.items()
        )
        assert score == pytest.approx(wanted, rel=1e-5)


def test_no_feedback_leaves_the_query(context: Context) -> None:
    first = Rankings.from_lists([[0, 1], []], [[2.0, 1.0], []])
    assert prf.expand(stage(fb_docs=0), context, ["bado"] * 2, first)[0] == [None, None]
    assert prf.expand(stage(), context, ["bado"] * 2, first)[0][1] is None
    unknown = prf.expand(stage(), context, ["nothing"], Rankings.from_lists([[7, 37]], [[2.0, 1.0]]))[0]
    assert unknown == [None]


def test_common_terms_of_the_query_stay_with_the_least_weight(context: Context) -> None:
    documents = [row for row, text in enumerate(TEXTS) if prf.COMMON not in text][:10]
    first = Rankings.from_lists([documents], [np.arange(len(documents), 0, -1)])
    (found,), _ = prf.expand(stage(), context, [f"{prf.COMMON} bado"], first)
    assert found is not None
    assert found[prf.COMMON] == pytest.approx(1e-6 / idf(prf.COMMON))


def test_contract(tmp_path: Path) -> None:
    check_stage(BM25PRF(), tmp_path, other_execution={"threads": 1})
