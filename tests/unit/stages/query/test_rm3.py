"""RM3 against its formula, and where it leaves a query as it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import prf
import pytest
from pydantic import ValidationError

from irkit.core.errors import ConfigError, DataError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.bm25 import BM25
from irkit.stages.forms import with_terms
from irkit.stages.query.gate import Gate
from irkit.stages.query.rm3 import RM3
from irkit.testing import check_stage

pytestmark = pytest.mark.java

QUERIES = ["bado cine bado", "gusk nothing-known", "everywhere x 1999 naïve", ""]
TEXTS = prf.texts()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return prf.context_of(tmp_path_factory.mktemp("rm3"), TEXTS)


def stage(**options: object) -> RM3:
    return RM3(analyzer="whitespace", **options)  # type: ignore[arg-type]


def formula(
    query: str, docs: Sequence[int], weights: Sequence[float], fb_terms: int, part: float, plain: bool = True
) -> dict[str, float]:
    df, bags = prf.frequency(TEXTS), prf.bags(TEXTS)
    model: Counter[str] = Counter()
    for doc, weight in zip(docs, weights, strict=True):
        usable = {
            term: tf
            for term, tf in bags[doc].items()
            if 2 <= len(term) <= 20
            and df[term] / len(TEXTS) <= 0.1
            and (not plain or re.fullmatch("[a-z0-9]+", term))
        }
        for term, tf in prf.unit(prf.first_terms(usable, fb_terms), 1).items():
            model[term] += tf * weight
    model = Counter(prf.unit(prf.first_terms(model, fb_terms), 1))
    own = prf.unit(Counter(query.split()), 1)
    return {t: part * own.get(t, 0) + (1 - part) * model.get(t, 0) for t in {*own, *model}}


@pytest.mark.parametrize(
    ("fb_docs", "fb_terms", "part", "plain"),
    [(10, 10, 0.5, True), (3, 2, 0.2, True), (40, 200, 0.9, True), (15, 30, 0.0, False)],
)
def test_formula(context: Context, fb_docs: int, fb_terms: int, part: float, plain: bool) -> None:
    first = prf.feedback(1, len(QUERIES))
    it = stage(fb_docs=fb_docs, fb_terms=fb_terms, original_query_weight=part, filter_terms=plain)
    found, _ = prf.expand(it, context, QUERIES, first)
    for query, weights, (docs, scores) in zip(QUERIES, found, first, strict=True):
        wanted = formula(query, docs[:fb_docs].tolist(), scores[:fb_docs].tolist(), fb_terms, part, plain)
        prf.assert_weights(weights, wanted, query)


def test_terms_that_are_no_feedback(context: Context) -> None:
    every = Rankings.from_lists([np.arange(prf.N)], [np.ones(prf.N)])
    (found,), _ = prf.expand(stage(fb_docs=prf.N, fb_terms=500), context, ["nothing"], every)
    assert found is not None
    assert {"w" * 20, "qq", "1999", "42", "b2b", "nothing"} <= set(found)
    assert not {"x", "y", "z" * 21, "naïve", "a-b", prf.COMMON} & set(found)


def test_the_scores_of_documents_count(context: Context) -> None:
    docs = np.array([0, 2])
    assert not set(TEXTS[0].split()) & set(TEXTS[2].split()) - {prf.COMMON}  # or the test proves nothing
    weights = {}
    for by in ("score", "softmax", "equal"):
        (found,), _ = prf.expand(
            stage(weight=by, fb_terms=100), context, [""], Rankings.from_lists([docs], [[3.0, 1.0]])
        )
        assert found is not None
        terms = [term for term in found if term in TEXTS[0].split()]
        weights[by] = sum(found[term] for term in terms) / sum(found.values())
    assert weights["score"] == pytest.approx(3 / 4)
    assert weights["softmax"] == pytest.approx(np.exp(2) / (1 + np.exp(2)))
    assert weights["equal"] == pytest.approx(1 / 2)


def test_a_score_below_zero_is_no_weight(context: Context) -> None:
    below = Rankings.from_lists([[3, 4]], [[1.0, -0.5]])
    with pytest.raises(DataError, match=r"-0\.5") as caught:
        prf.expand(stage(), context, ["bado"], below)
    assert "softmax" in (caught.value.problems[0].hint or "")
    assert prf.expand(stage(fb_docs=1), context, ["bado"], below)[0][0]
    assert prf.expand(stage(weight="softmax"), context, ["bado"], below)[0][0]


def test_no_feedback_leaves_the_query(context: Context) -> None:
    first = Rankings.from_lists([[0, 1], [], [7]], [[2.0, 1.0], [], [0.0]])
    assert prf.expand(stage(fb_docs=0), context, ["bado"] * 3, first)[0] == [None, None, None]
    found, told = prf.expand(stage(), context, ["bado"] * 3, first)
    assert found[0] is not None
    assert found[1:] == [None, None]
    assert told[0][0].startswith("rm3: 2 documents, ")
    assert "as it was" in told[1][0]


def test_a_gate_leaves_the_query(context: Context) -> None:
    first = Rankings.from_lists([[0, 1], [0, 1]], [[2.0, 1.9], [2.0, 0.1]])
    found, _ = prf.expand(stage(gate=Gate(least=0.9, depth=2)), context, ["bado"] * 2, first)
    assert found[0] is not None
    assert found[1] is None


def test_empty_documents_add_nothing(context: Context) -> None:
    (found,), _ = prf.expand(stage(), context, ["bado cine"], Rankings.from_lists([[7, 37]], [[2.0, 1.0]]))
    prf.assert_weights(found, {"bado": 0.25, "cine": 0.25})


def test_the_whole_weight_on_the_query_is_the_run_unchanged(context: Context) -> None:
    search = BM25(k=50, analyzer="whitespace")
    state, queries = search.prepare(context), Queries.of(QUERIES[:3])
    before = search.run(Batch(queries), state)
    it = stage(original_query_weight=1)
    after = search.run(Batch(it.run(Batch(queries, (before,)), it.prepare(context))), state)
    assert [docs.tolist() for docs, _ in after] == [docs.tolist() for docs, _ in before]
    for query, (_, old), (_, new) in zip(QUERIES, before, after, strict=False):
        np.testing.assert_allclose(new * len(query.split()), old, rtol=1e-5)


def test_weighted_terms_are_taken_up(context: Context) -> None:
    weighted = with_terms(Queries.of(["bado", "cine"]), "whitespace", [{"gusk": 3.0, "fado": 1.0}, None])
    first = Rankings.from_lists([[7], [7]], [[1.0], [1.0]])
    found, _ = prf.expand(stage(), context, weighted, first)
    prf.assert_weights(found[0], {"gusk": 0.375, "fado": 0.125})
    prf.assert_weights(found[1], {"cine": 0.5})
    kept, _ = prf.expand(stage(fb_docs=0), context, weighted, first)
    assert kept == [{"gusk": 3.0, "fado": 1.0}, None]
    with pytest.raises(ConfigError, match="whitespace"):
        prf.expand(RM3(analyzer="porter"), context, weighted, first)


def test_what_it_tells(context: Context) -> None:
    (found,), ((line,),) = prf.expand(stage(fb_docs=15, fb_terms=60), context, ["bado"], prf.feedback(2, 1))
    assert found is not None
    assert line == f"rm3: 15 documents, {len(found)} terms"  # which they are is shown by who shows the query
    _, ((line,),) = prf.expand(stage(fb_docs=0), context, ["bado"], prf.feedback(2, 1))
    assert line == "rm3: the query as it was, for fb_docs is 0"


def test_contract(tmp_path: Path) -> None:
    check_stage(RM3(), tmp_path, other_execution={"threads": 1})


def test_options_out_of_range() -> None:
    for options in ({"original_query_weight": 1.5}, {"fb_terms": 0}, {"fb_docs": -1}, {"weight": "rank"}):
        with pytest.raises(ValidationError):
            stage(**options)
