from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.errors import ConfigError
from irkit.core.metric import FAMILIES, Metric, parse_metric


@given(st.sampled_from(sorted(FAMILIES)), st.none() | st.integers(1, 5000), st.none() | st.integers(1, 9))
def test_text_parses_back(name: str, k: int | None, level: int | None) -> None:
    family = FAMILIES[name]
    metric = Metric(name, k if family.cutoff else None, level if family.level else None)
    assert parse_metric(str(metric)) == metric


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("ndcg@10", "ndcg@10"),
        ("nDCG@10", "ndcg@10"),
        ("ndcg_cut_10", "ndcg@10"),
        ("ndcg_cut.10", "ndcg@10"),
        ("nDCG(dcg='exp-log2')@10", "ndcg_burges@10"),
        ("nDCG(dcg='log2')@10", "ndcg@10"),
        ("ndcg_burges@5", "ndcg_burges@5"),
        ("map", "map"),
        ("AP", "map"),
        ("map_cut_100", "map@100"),
        ("AP@100", "map@100"),
        ("R@100", "recall@100"),
        ("recall_100", "recall@100"),
        ("recall@100-l2", "recall@100-l2"),
        ("recall@100-l1", "recall@100-l1"),
        ("R(rel=2)@100", "recall@100-l2"),
        ("P@10", "precision@10"),
        ("P_10", "precision@10"),
        ("P(rel=3)@5", "precision@5-l3"),
        ("RR", "mrr"),
        ("RR@10", "mrr@10"),
        ("rr@10", "mrr@10"),
        ("mrr@10", "mrr@10"),
        ("recip_rank", "mrr"),
        ("Success@1", "success@1"),
        ("hit_rate@1", "success@1"),
        ("success_1", "success@1"),
        ("Rprec", "r_precision"),
        ("r-precision", "r_precision"),
        ("r_precision-l2", "r_precision-l2"),
        ("f1@10", "f1@10"),
        ("Bpref", "bpref"),
        ("Judged@10", "judged@10"),
        (" ndcg@10 ", "ndcg@10"),
    ],
)
def test_spellings(spelling: str, canonical: str) -> None:
    assert str(parse_metric(spelling)) == canonical
    assert parse_metric(spelling).label


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("ndgc@10", "unknown metric 'ndgc@10'", "did you mean 'ndcg@10'?"),
        ("recal@100-l2", "unknown metric", "did you mean 'recall@100-l2'?"),
        ("bprefs@10", "unknown metric", "did you mean 'bpref'?"),
        ("ndgc", "unknown metric", "did you mean 'ndcg'?"),
        ("xyzzy@10", "unknown metric", "choose one of: ndcg, "),
        ("", "unknown metric ''", "name@cutoff"),
        ("ndcg@ten", "unknown metric", "name@cutoff"),
        ("ndcg@-1", "unknown metric", "name@cutoff"),
        ("ndcg@0", "no cutoff 0", "begin at 1"),
        ("bpref@10", "no cutoff 10", "write bpref"),
        ("recall@10-l0", "no relevance level 0", "1 or more"),
        ("judged@10-l2", "no relevance level 2", "leave out -l2"),
        ("P(foo=1)@5", "cannot use 'foo=1'", "recall@100-l2"),
        ("AP(dcg='exp-log2')", "cannot use", ""),
    ],
)
def test_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_metric(text)
    assert message in caught.value.problems[0].message
    assert hint in (caught.value.problems[0].hint or "")


def test_only_ndcg_without_a_level_is_called_trec_evals() -> None:
    assert "trec_eval" in parse_metric("ndcg@10").label
    assert (
        "trec_eval" not in parse_metric("ndcg@10-l2").label and "below 2" in parse_metric("ndcg@10-l2").label
    )
