"""Metrics against pytrec_eval (trec_eval's own code), on runs with everything that makes evaluators disagree."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from irkit.core.errors import ConfigError, DataError, DependencyError
from irkit.core.metric import FAMILIES, parse_metric
from irkit.core.rankings import Rankings, offsets_of
from irkit.data.collection import Qrels
from irkit.evaluate import metrics as module
from irkit.evaluate.metrics import evaluate, evaluation_identity, judged_queries, means

trec = pytest.importorskip("pytrec_eval")

OURS_TO_TREC = {
    "ndcg@10": "ndcg_cut_10",
    "ndcg": "ndcg_cut_1000",  # its uncut "ndcg" reads outside its memory when a gain is negative
    "map": "map",
    "map@10": "map_cut_10",
    "recall@100": "recall_100",
    "recall": "set_recall",
    "mrr": "recip_rank",
    "precision@10": "P_10",
    "precision": "set_P",
    "f1": "set_F",
    "success@1": "success_1",
    "success@5": "success_5",
    "r_precision": "Rprec",
    "bpref": "bpref",
}
# Names whose order is neither numerical nor that of any locale: a code is the place in the order of the UTF-8 bytes.
DOCNOS = sorted(
    {f"{prefix}{n}" for prefix in ("d", "D-", "é", "中 ", "\U0001f600") for n in range(60)},
    key=lambda s: s.encode(),
)
N_DOCS = 280  # the last 20 names are judged, but missing from the collection


def make_qrels(judgements: list[dict[int, int]]) -> Qrels:
    pairs = [sorted(q.items()) for q in judgements]
    flat = [pair for q in pairs for pair in q]
    columns = np.array(flat, np.int32).reshape(-1, 2)
    return Qrels(offsets_of([len(q) for q in pairs]), columns[:, 0].copy(), columns[:, 1].copy())


def random_case(seed: int) -> tuple[Rankings, Qrels, list[np.ndarray]]:
    """Ties, queries without hits, judgements or relevant documents, graded and negative gains, exclusions."""
    rng = np.random.default_rng(seed)
    docs, scores, judgements, excluded = [], [], [], []
    for _ in range(12):
        n = 0 if rng.random() < 0.15 else int(rng.integers(1, 200))
        docs.append(rng.choice(N_DOCS, n, replace=False))
        scores.append(rng.integers(-3, 8, n) / 4 if rng.random() < 0.7 else rng.normal(size=n))
        pool = rng.choice(len(DOCNOS), int(rng.integers(0, 40)) if rng.random() < 0.9 else 0, replace=False)
        gains = [-100, -1, 0, 1, 2, 3] if rng.random() < 0.9 else [-1, 0]
        judgements.append({int(doc): int(rng.choice(gains)) for doc in pool})
        excluded.append(np.sort(rng.choice(N_DOCS, int(rng.integers(0, 20)), replace=False)).astype(np.int32))
    judgements[0][3] = 1  # at least one query is judged
    return Rankings.from_lists(docs, scores), make_qrels(judgements), excluded


def trec_values(
    rankings: Rankings, qrels: Qrels, level: int = 1, cut: int | None = None
) -> dict[str, list[float]]:
    """What trec_eval -c says: a judged query that the run lacks counts 0.

    pytrec_eval reads outside its memory for gains below -1 (and sometimes crashes), so it is given -1 for them.
    """
    run, truth = {}, {}
    for q, (doc, score) in enumerate(rankings.top(cut) if cut else rankings):
        if len(doc):
            run[str(q)] = {DOCNOS[d]: float(s) for d, s in zip(doc.tolist(), score.tolist(), strict=True)}
        own = slice(qrels.offsets[q], qrels.offsets[q + 1])
        if qrels.offsets[q] < qrels.offsets[q + 1]:
            truth[str(q)] = {
                DOCNOS[d]: max(g, -1)
                for d, g in zip(qrels.doc[own].tolist(), qrels.gain[own].tolist(), strict=True)
            }
    measures = {
        "ndcg_cut", "map", "map_cut", "recall", "recip_rank", "P", "success", "Rprec", "bpref",
        "set_recall", "set_P", "set_F",
    }  # fmt: skip
    found = trec.RelevanceEvaluator(truth, measures, relevance_level=level).evaluate(run)
    return {m: [found[q][m] if q in found else 0.0 for q in truth] for m in OURS_TO_TREC.values()}


@pytest.mark.parametrize("seed", range(50))
def test_equals_trec_eval(seed: int) -> None:
    rankings, qrels, excluded = random_case(seed)
    values = evaluate(rankings, qrels, list(OURS_TO_TREC), N_DOCS, exclude=excluded)
    dropped = rankings.without(excluded)
    expected = trec_values(dropped, qrels)
    for ours, theirs in OURS_TO_TREC.items():
        assert values[ours].dtype == np.float64
        assert np.abs(values[ours] - expected[theirs]).max() < 1e-12, ours
    cut = trec_values(dropped, qrels, cut=10)
    got = evaluate(rankings, qrels, [parse_metric("mrr@10"), parse_metric("map@10")], exclude=excluded)
    assert np.abs(got["mrr@10"] - cut["recip_rank"]).max() < 1e-12
    assert np.abs(got["map@10"] - cut["map"]).max() < 1e-12


@pytest.mark.parametrize("seed", range(100, 110))
def test_relevance_level_equals_trec_eval(seed: int) -> None:
    rankings, qrels, _ = random_case(seed)
    plain = {
        m: t for m, t in OURS_TO_TREC.items() if not m.startswith("ndcg")
    }  # trec_eval's nDCG knows no level
    values = evaluate(rankings, qrels, [f"{metric}-l2" for metric in plain])
    expected = trec_values(rankings, qrels, level=2)
    for ours, theirs in plain.items():
        assert np.abs(values[f"{ours}-l2"] - expected[theirs]).max() < 1e-12, ours


@pytest.mark.parametrize("seed", range(110, 120))
def test_the_policys_level_is_that_of_metrics_that_name_none(seed: int) -> None:
    """As trec_eval -l 2: binary metrics by it, nDCG graded; a metric's own level goes before."""
    rankings, qrels, excluded = random_case(seed)
    values = evaluate(rankings, qrels, list(OURS_TO_TREC), exclude=excluded, relevance_level=2)
    expected = trec_values(rankings.without(excluded), qrels, level=2)
    for ours, theirs in OURS_TO_TREC.items():
        assert np.abs(values[ours] - expected[theirs]).max() < 1e-12, ours
    plain = evaluate(rankings, qrels, ["map", "ndcg_burges@10", "judged@10"], exclude=excluded)
    named = evaluate(
        rankings,
        qrels,
        ["map-l1", "map-l2", "ndcg_burges@10", "judged@10"],
        exclude=excluded,
        relevance_level=3,
    )
    assert (named["map-l1"] == plain["map"]).all() and (named["map-l2"] == values["map"]).all()
    assert (named["ndcg_burges@10"] == plain["ndcg_burges@10"]).all()
    assert (named["judged@10"] == plain["judged@10"]).all()


def one(judgements: dict[int, int], docs: list[int], *metrics: str) -> list[float]:
    """The values of one query whose run is ``docs`` in this order."""
    ranking = Rankings.from_lists([docs], [[-float(rank) for rank in range(len(docs))]])
    return [float(v[0]) for v in evaluate(ranking, make_qrels([judgements]), metrics).values()]


def test_by_hand() -> None:
    log3, log4 = math.log2(3), math.log2(4)
    judgements, run = {1: 2, 2: 1, 3: 0, 9: -1}, [3, 1, 2, 7]
    ideal = 2 + 1 / log3
    assert one(judgements, run, "ndcg@3", "ndcg@2", "mrr", "map") == pytest.approx(
        [(2 / log3 + 1 / log4) / ideal, 2 / log3 / ideal, 1 / 2, (1 / 2 + 2 / 3) / 2]
    )
    burges = 3 + 1 / log3
    assert one(judgements, run, "ndcg_burges@3") == pytest.approx([(3 / log3 + 1 / log4) / burges])
    assert one(judgements, run, "ndcg@3-l2") == pytest.approx([1 / log3])
    assert one(judgements, run, "precision@10", "success@1", "success@2", "f1@2") == pytest.approx(
        [0.2, 0, 1, 0.5]
    )
    assert one(judgements, [9, 3, 7, 8], "judged@2", "judged@4", "judged@10") == pytest.approx([1, 0.5, 0.2])


def test_a_tie_is_broken_by_code_descending() -> None:
    ranking = Rankings.from_lists([[1, 2, 3]], [[1.0, 1.0, 1.0]])
    assert evaluate(ranking, make_qrels([{1: 1}]), ["mrr"])["mrr"].tolist() == [1 / 3]
    assert evaluate(ranking, make_qrels([{3: 1}]), ["mrr"])["mrr"].tolist() == [1.0]


def test_who_is_counted() -> None:
    ranking = Rankings.from_lists([[1], [], [1], [1]], [[1], [], [1], [1]])
    qrels = make_qrels([{1: 1}, {1: 1}, {}, {1: 0}])
    values = evaluate(ranking, qrels, ["recall@10"])
    assert judged_queries(qrels).tolist() == [0, 1, 3]
    assert values["recall@10"].tolist() == [1.0, 0.0, 0.0]
    assert means(values) == {"recall@10": pytest.approx(1 / 3)}


def test_judged_documents_that_the_collection_lacks_are_a_loss() -> None:
    ranking = Rankings.from_lists([[0]], [[1]])
    values = evaluate(ranking, make_qrels([{0: 1, 5: 1}]), ["recall@10", "ndcg@10"], n_docs=5)
    assert values["recall@10"].tolist() == [0.5]
    assert values["ndcg@10"][0] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_every_metric_and_an_empty_run() -> None:
    values = evaluate(Rankings.empty(2), make_qrels([{1: 1, 2: 0}, {3: -1}]), sorted(FAMILIES))
    assert values.keys() == FAMILIES.keys()
    assert all(v.tolist() == [0.0, 0.0] for v in values.values())


def test_nothing_is_changed() -> None:
    rankings, qrels, excluded = random_case(7)
    for array in (
        rankings.offsets,
        rankings.doc,
        rankings.score,
        qrels.offsets,
        qrels.doc,
        qrels.gain,
        *excluded,
    ):
        array.setflags(write=False)
    evaluate(rankings, qrels, sorted(FAMILIES), N_DOCS, exclude=excluded)


def test_refused() -> None:
    ranking, qrels = Rankings.from_lists([[7]], [[1]]), make_qrels([{1: 1}])
    with pytest.raises(ValueError, match="do not belong together"):
        evaluate(Rankings.empty(2), qrels, ["map"])
    with pytest.raises(ValueError, match="code 7 was retrieved from a collection of 7"):
        evaluate(ranking, qrels, ["map"], n_docs=7)
    with pytest.raises(ConfigError, match="unknown metric"):
        evaluate(ranking, qrels, ["mapp"])
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(ranking, make_qrels([{}]), ["map"])


def test_a_ranx_without_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._RANX, "map", ("average_precision", "_renamed"))
    with pytest.raises(DependencyError, match="_renamed"):
        evaluate(Rankings.empty(1), make_qrels([{1: 1}]), ["map"])


def test_identity_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys; from irkit.evaluate import evaluation_identity, parse_metric; evaluation_identity();"
        "parse_metric('map'); print([m for m in ('numba', 'ranx', 'pandas', 'torch') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
    assert evaluation_identity()["ranx"]
