"""Rocchio against its formula, and where it leaves a query as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import prf
import pytest
from pydantic import ValidationError

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.stages.query.rocchio import Rocchio
from irkit.testing import check_stage

pytestmark = pytest.mark.java

QUERIES = ["bado cine bado", "gusk nothing-known", "everywhere x 1999 naïve", ""]
TEXTS = prf.texts(3)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return prf.context_of(tmp_path_factory.mktemp("rocchio"), TEXTS)


def stage(**options: object) -> Rocchio:
    return Rocchio(analyzer="whitespace", **options)  # type: ignore[arg-type]


def mean(docs: Sequence[int], terms: int) -> Counter[str]:
    df, bags = prf.frequency(TEXTS), prf.bags(TEXTS)
    total: Counter[str] = Counter()
    for doc in docs:
        usable = {t: tf for t, tf in bags[doc].items() if 2 <= len(t) <= 20 and df[t] / len(TEXTS) <= 0.1}
        for term, weight in prf.unit(usable, 2).items():
            total[term] += weight / len(docs)  # type: ignore[assignment]
    return Counter(prf.unit(prf.first_terms(total, terms), 2))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(("fb_docs", "fb_terms"), [(10, 10), (3, 200)])
def test_formula(context: Context, fb_docs: int, fb_terms: int, negative: bool) -> None:
    first = prf.feedback(1, len(QUERIES), documents=30)
    it = stage(
        fb_docs=fb_docs,
        fb_terms=fb_terms,
        alpha=0.8,
        beta=0.6,
        use_negative=negative,
        **({"gamma": 0.5, "bottom_fb_docs": 4, "bottom_fb_terms": 12} if negative else {}),
    )
    found, _ = prf.expand(it, context, QUERIES, first)
    for query, weights, (docs, _) in zip(QUERIES, found, first, strict=True):
        own = prf.unit(Counter(query.split()), 2)
        good = mean(docs[:fb_docs].tolist(), fb_terms)
        bad = mean(docs[-4:].tolist(), 12) if negative else Counter()
        moved = {t: 0.8 * own.get(t, 0) + 0.6 * good[t] - 0.5 * bad[t] for t in {*own, *good, *bad}}
        prf.assert_weights(weights, {t: w for t, w in moved.items() if w > 1e-7}, query)


def test_negative_feedback_takes_away(context: Context) -> None:
    first = Rankings.from_lists([[0, 1]], [[2.0, 1.0]])
    terms = set(TEXTS[1].split()) - {prf.COMMON}
    negative = {"use_negative": True, "bottom_fb_docs": 1, "gamma": 9, "bottom_fb_terms": 50}
    (found,), _ = prf.expand(stage(fb_docs=1, **negative), context, [TEXTS[1]], first)
    (kept,), _ = prf.expand(stage(fb_docs=1), context, [TEXTS[1]], first)
    assert found is not None
    assert kept is not None
    assert terms <= set(kept)
    assert not {t for t in terms & set(found) if 2 <= len(t) <= 20 and prf.frequency(TEXTS)[t] <= 8}


def test_scores_are_not_read(context: Context) -> None:
    docs = np.array([3, 9, 12])
    high, low = (Rankings.from_lists([docs], [scores]) for scores in ([9.0, 8.0, 7.0], [-0.1, -0.2, -30.0]))
    assert prf.expand(stage(), context, ["bado"], high) == prf.expand(stage(), context, ["bado"], low)


def test_no_feedback_leaves_the_query(context: Context) -> None:
    first = Rankings.from_lists([[0, 1], []], [[2.0, 1.0], []])
    assert prf.expand(stage(fb_docs=0), context, ["bado"] * 2, first)[0] == [None, None]
    found, told = prf.expand(stage(), context, ["bado"] * 2, first)
    assert found[1] is None
    assert told[0][0].startswith("rocchio: 2 documents, ")
    assert prf.expand(stage(), context, [""], Rankings.from_lists([[7]], [[1.0]]))[0] == [None]


def test_without_documents_weight_the_run_is_unchanged(context: Context) -> None:
    search = BM25(k=50, analyzer="whitespace")
    state, queries = search.prepare(context), Queries.of(QUERIES[:3])
    before = search.run(Batch(queries), state)
    it = stage(beta=0)
    after = search.run(Batch(it.run(Batch(queries, (before,)), it.prepare(context))), state)
    assert [docs.tolist() for docs, _ in after] == [docs.tolist() for docs, _ in before]
    for query, (_, old), (_, new) in zip(QUERIES, before, after, strict=False):
        norm = sum(count**2 for count in Counter(query.split()).values()) ** 0.5
        np.testing.assert_allclose(new * norm, old, rtol=1e-5)


def test_anserini_names_of_options() -> None:
    assert stage(top_fb_docs=3, top_fb_terms=4) == stage(fb_docs=3, fb_terms=4)
    assert (Rocchio().fb_docs, Rocchio().fb_terms, Rocchio().gamma, Rocchio().use_negative) == (
        10,
        10,
        0.15,
        False,
    )
    with pytest.raises(ValidationError):
        stage(beta=-1)


def test_contract(tmp_path: Path) -> None:
    check_stage(Rocchio(use_negative=True), tmp_path, other_execution={"threads": 1})
