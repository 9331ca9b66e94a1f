"""The criteria by which heads are chosen, against values worked out by hand and plain references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irkit.core.errors import ConfigError
from irkit.stages.rerank.head_selection import (
    METHODS,
    Criterion,
    HeadAttention,
    best,
    contrast,
    mass,
    ndcg,
    tied_at_cut,
)

SCORES = np.array(
    [
        [[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.3, 0.5]],
        [[0.2, 0.4, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]],
    ],
    np.float32,
)
"""Of 2 layers of 2 heads and 4 documents."""


def test_ndcg_of_each_head_by_hand() -> None:
    gains = np.array([2, 0, 1, -1])
    # ideal: gain 2 at rank 1, gain 1 at rank 2: 2/1 + 1/log2(3) = 2.63093
    # 0-0 ranks 0 1 2 3 (equal scores in the order of the list): 2 + 1/log2(4) = 2.5
    # 0-1 ranks 3 2 0 1: 1/log2(3) + 2/log2(4) = 1.63093
    # 1-0 ranks 1 2 0 3: the same places: 1/log2(3) + 2/2 = 1.63093
    # 1-1 says nothing: the order of the list, 2.5
    ideal = 2 + 1 / math.log2(3)
    expected = np.array([[2.5, 0.6309297535714574 + 1], [0.6309297535714574 + 1, 2.5]]) / ideal
    np.testing.assert_allclose(ndcg(SCORES, gains), expected, rtol=1e-12)


def test_ndcg_counts_the_first_documents_alone() -> None:
    gains = np.array([0, 0, 0, 1])
    assert ndcg(SCORES, gains, cutoff=1).tolist() == [[0.0, 1.0], [0.0, 0.0]]
    # ranks of document 3: 4, 1, 4, 4
    np.testing.assert_allclose(ndcg(SCORES, gains, cutoff=4)[:, 0], 1 / math.log2(5))


def test_mass_is_the_attention_on_relevant_documents() -> None:
    np.testing.assert_allclose(mass(SCORES, np.array([2, 0, 1, 0])), [[0.6, 0.4], [0.5, 0.0]], rtol=1e-6)


def test_contrast_by_hand() -> None:
    # t = 0.1, relevant 0: head 0-0: e^5 / (e^5 + e^3 + e^1 + e^1); head 0-1: e^1 / (e^1 + e^1 + e^3 + e^5)
    # head 1-0: e^2 / (e^2 + e^4 + e^3 + 1); head 1-1: a quarter
    e = math.exp
    expected = [
        [e(5) / (e(5) + e(3) + 2 * e(1)), e(1) / (e(5) + e(3) + 2 * e(1))],
        [e(2) / (e(2) + e(4) + e(3) + 1), 0.25],
    ]
    np.testing.assert_allclose(contrast(SCORES, np.array([1, 0, 0, 0]), 0.1), expected, rtol=1e-6)


def test_contrast_takes_each_relevant_document_by_itself() -> None:
    # relevant 0 and 1, of head 1-0, t = 0.1: mean of e^2 / (e^2 + e^3 + 1) and e^4 / (e^4 + e^3 + 1)
    e = math.exp
    expected = (e(2) / (e(2) + e(3) + 1) + e(4) / (e(4) + e(3) + 1)) / 2
    assert contrast(SCORES, np.array([1, 3, 0, -2]), 0.1)[1, 0] == pytest.approx(expected, rel=1e-6)


def test_contrast_of_a_low_temperature_is_whether_the_head_looks_there_most() -> None:
    with np.errstate(all="raise", under="ignore", over="raise"):
        found = contrast(SCORES, np.array([1, 0, 0, 0]), 1e-6)
    np.testing.assert_allclose(found, [[1, 0], [0, 0.25]], atol=1e-12)
    # two relevant documents, of which one is far above: the other is above all that are not relevant, too
    np.testing.assert_allclose(contrast(SCORES, np.array([1, 1, 0, 0]), 1e-6)[0, 0], 1.0)


def plain_contrast(scores: NDArray[np.float32], gains: NDArray[np.int64], t: float) -> float:
    negatives = [float(s) for s, g in zip(scores, gains, strict=True) if g <= 0]
    shares = []
    for s, g in zip(scores, gains, strict=True):
        if g > 0:
            all_ = [float(s) / t, *(n / t for n in negatives)]
            top = max(all_)
            shares.append(math.exp(all_[0] - top) / sum(math.exp(each - top) for each in all_))
    return sum(shares) / len(shares)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), t=st.sampled_from([0.001, 0.01, 0.1, 1.0]))
def test_contrast_against_a_plain_softmax(seed: int, t: float) -> None:
    random = np.random.default_rng(seed)
    scores = random.random((2, 3, 7)).astype(np.float32)
    gains = np.array([1, 0, 0, 2, -1, 0, 1])
    found = contrast(scores, gains, t)
    for layer, head in np.ndindex(2, 3):
        assert found[layer, head] == pytest.approx(
            plain_contrast(scores[layer, head], gains, t), rel=1e-9, abs=1e-300
        )


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32))
def test_ndcg_against_trec_eval(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    random = np.random.default_rng(seed)
    scores = (
        random.permutation(24).reshape(1, 2, 12).astype(np.float32)
    )  # no ties: trec_eval breaks them by name
    gains = random.integers(-1, 3, 12)
    gains[0] = 1
    found = ndcg(scores, gains)
    qrels = {"q": {str(doc): int(gain) for doc, gain in enumerate(gains)}}
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    for head in range(2):
        run = {"q": {str(doc): float(score) for doc, score in enumerate(scores[0, head])}}
        assert found[0, head] == pytest.approx(judge.evaluate(run)["q"]["ndcg_cut_10"], abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_head_is_found(method: str) -> None:
    random = np.random.default_rng(3)
    criterion = Criterion(method)  # type: ignore[arg-type]
    total = np.zeros((6, 8))
    for _ in range(20):
        gains = np.zeros(15, np.int64)
        gains[random.choice(15, 2, replace=False)] = 1
        scores = random.dirichlet(np.ones(15), (6, 8)).astype(np.float32)
        perfect = np.where(gains > 0, 0.4, 0.01).astype(np.float32)
        scores[4, 5] = perfect
        scores[1, 7] = perfect[::-1]  # as much attention, elsewhere
        total += criterion(scores, gains)
    pairs, values = best(total / 20, 3)
    assert pairs[0] == (4, 5)
    assert (1, 7) not in pairs
    assert values[0] > values[1] > values[2]


def test_the_best_come_first_and_equals_by_number() -> None:
    values = np.array([[0.5, 0.9], [0.9, 0.1], [0.9, 0.5]])
    pairs, kept = best(values, 5)
    assert pairs == ((0, 1), (1, 0), (2, 0), (0, 0), (2, 1))
    assert kept == (0.9, 0.9, 0.9, 0.5, 0.5)
    assert tied_at_cut(values, 2) == (((0, 1), (1, 0)), ((2, 0),))
    assert tied_at_cut(values, 4) == (((0, 0),), ((2, 1),))
    for count in (3, 5, 6):  # the cut is between different values, or behind all
        assert tied_at_cut(values, count) == ((), ())
    for count in (0, 7):
        with pytest.raises(ConfigError, match=f"{count} heads cannot be taken of the model's 6"):
            best(values, count)


def test_attention_is_summed_over_each_document() -> None:
    import torch

    collected = HeadAttention(np.array([[0, 2], [3, 6], [6, 6]]))
    layers = torch.arange(24, dtype=torch.float32).reshape(2, 2, 6)
    for layer in range(2):
        collected.take(layer, 0, layers[layer])
        collected.take(layer, 1, layers[layer] * 100)  # "N/A" is not asked
    # row 0: 0+1, 3+4+5; row 1: 6+7, 9+10+11
    assert collected.result().tolist() == [[[1, 12, 0], [13, 30, 0]], [[25, 48, 0], [37, 66, 0]]]
    assert collected.result().dtype == np.float32


def test_each_method_takes_its_scores_and_records_its_options() -> None:
    assert [Criterion(method).calibrated for method in METHODS] == [True, False, False]
    options = [Criterion(method).options() for method in METHODS]
    assert options == [{"cutoff": 10}, {}, {"temperature": 0.001}]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"method": "qrhead"}, "method"),
        ({"cutoff": 0}, "cutoff"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        Criterion(**options)  # type: ignore[arg-type]
    assert error.value.problems[0].where == where
