"""Tests of what becomes of attention: outliers, sums, and the collectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from irkit.stages.rerank.calibration import HeadScores, TokenScores, document_scores, inliers

values = st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 6))


def plainly(tokens: np.ndarray) -> float:
    """The paper's sum for one document; with fewer than two tokens, or all of them equal, there are no outliers."""
    if len(tokens) < 2 or len(set(tokens)) == 1:
        return float(tokens.sum())
    kept = tokens > tokens.mean() - 2 * tokens.std(ddof=1)
    return float(tokens[kept].sum())


@st.composite
def documents(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Token scores, and documents in them with gaps between; some are empty, some end where the tokens end."""
    lengths = draw(st.lists(st.integers(0, 12), max_size=6))
    gaps = draw(st.lists(st.integers(0, 2), min_size=len(lengths) + 1, max_size=len(lengths) + 1))
    bounds, at = [], 0
    for gap, length in zip(gaps, lengths, strict=False):
        bounds.append((at + gap, at + gap + length))
        at += gap + length
    size = at + gaps[-1]
    scores = draw(st.lists(values, min_size=size, max_size=size))
    return np.array(scores, np.float64), np.array(bounds, np.int64).reshape(-1, 2)


@given(documents())
def test_scores_are_sums_without_outliers(case: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, bounds = case
    scores, weights = document_scores(tokens, bounds)
    np.testing.assert_allclose(scores, [plainly(tokens[a:b]) for a, b in bounds], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scores, [weights[a:b].sum() for a, b in bounds], atol=1e-12)
    assert np.isin(weights, [*tokens, 0]).all()
    raw, same = document_scores(tokens, bounds, outliers=True)
    np.testing.assert_allclose(raw, [tokens[a:b].sum() for a, b in bounds], atol=1e-12)
    assert same.tolist() == tokens.tolist()


def test_a_low_outlier_is_dropped_and_a_high_one_is_not() -> None:
    tokens = np.array([9.0, *[1.0] * 10, -50.0, 7.0])
    kept = inliers(tokens, np.array([[0, 12]]))
    assert kept.tolist() == [True] * 11 + [False, False]  # the last one is of no document
    assert document_scores(tokens, np.array([[0, 12]]))[0].tolist() == [19.0]


@pytest.mark.filterwarnings("error")
def test_short_and_empty_documents_have_finite_scores() -> None:
    tokens = np.array([-3.0, 2.0, 2.0, 2.0])
    scores, _ = document_scores(tokens, np.array([[0, 1], [1, 1], [1, 4], [4, 4]]))
    assert scores.tolist() == [-3.0, 0.0, 6.0, 0.0]
    assert document_scores(tokens, np.zeros((0, 2), np.int64))[0].shape == (0,)


def layers_of_attention(layers: int = 3, heads: int = 4, tokens: int = 9) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(5)
    return [torch.rand(2, heads, tokens, generator=made) for _ in range(layers)]


def feed(collector: TokenScores | HeadScores, layers: list[torch.Tensor], reads: int = 2) -> None:
    for layer, weights in enumerate(layers):
        for read in range(reads):
            collector.take(layer, read, weights[read])


def test_token_scores_sum_the_chosen_heads() -> None:
    layers = layers_of_attention()
    difference = torch.stack(layers).double().diff(dim=1)[:, 0].neg().numpy()
    every = TokenScores()
    feed(every, layers)
    np.testing.assert_allclose(every.result(), difference.sum((0, 1)), atol=1e-6)
    some = TokenScores({1: (0, 3)})
    for read in range(2):
        some.take(1, read, layers[1][read])
    np.testing.assert_allclose(some.result(), difference[1, [0, 3]].sum(0), atol=1e-6)
    raw = TokenScores(calibrate=False)
    feed(raw, layers, 1)
    np.testing.assert_allclose(raw.result(), torch.stack(layers)[:, 0].sum((0, 1)), rtol=1e-6)
    with pytest.raises(ValueError, match="no layer"):
        TokenScores().result()


def test_token_scores_are_summed_in_double_precision() -> None:
    weights = torch.tensor([[1.0, 0.5], [1e-9, 1e-10]])
    raw, calibrated = TokenScores(calibrate=False), TokenScores()
    for layer in range(2):
        raw.take(layer, 0, weights)
        calibrated.take(layer, 0, weights)
        calibrated.take(layer, 1, torch.zeros(2, 2))
    wanted = 2 * weights.double().sum(0).numpy()
    assert raw.result().tolist() == calibrated.result().tolist() == wanted.tolist()
    assert wanted[0] > 2


@pytest.mark.parametrize("outliers", [True, False])
def test_what_is_not_finite_shows(outliers: bool) -> None:
    tokens = np.array([[1.0, np.nan, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    scores, _ = document_scores(tokens, np.array([[0, 2], [2, 4]]), outliers=outliers)
    assert np.isnan(scores).tolist() == [[True, False], [False, False]]


def test_head_scores_are_what_each_head_alone_says() -> None:
    layers, bounds = layers_of_attention(), np.array([[0, 4], [5, 9]])
    collector = HeadScores(bounds)
    feed(collector, layers)
    found = collector.result()
    assert found.shape == (3, 4, 2) and found.dtype == np.float32
    for layer in range(3):
        for head in range(4):
            alone = TokenScores({layer: (head,)})
            for read in range(2):
                alone.take(layer, read, layers[layer][read])
            np.testing.assert_array_equal(
                found[layer, head], document_scores(alone.result(), bounds)[0].astype(np.float32)
            )
    with pytest.raises(ValueError, match="query comes first"):
        HeadScores(bounds).take(0, 1, layers[0][1])
