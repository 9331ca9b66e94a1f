"""Tests of what is dropped: stop words, and tokens that are attended to little."""

from __future__ import annotations

import numpy as np
import pytest

from irkit.models.words import word_id
from irkit.stages.multivector.pruning import most_attended, stop_words, without_stop_words


def ids(text: str) -> np.ndarray:
    return np.array([word_id(word.encode()) if word != "_" else 0 for word in text.split()], np.uint32)


def test_stop_words_and_punctuation_go_and_special_tokens_stay() -> None:
    stay = without_stop_words(ids("_ The river , and its stones . _"))
    assert stay.tolist() == [True, False, True, False, False, False, True, False, True]


def test_a_document_of_stop_words_keeps_all() -> None:
    assert without_stop_words(ids("_ to be or not to be _")).all()
    assert without_stop_words(ids("_ _")).all()
    assert without_stop_words(ids("")).shape == (0,)


def test_the_list() -> None:
    listed = stop_words()
    assert np.all(np.diff(listed.astype(np.int64)) > 0)
    assert 0 not in listed  # or special tokens would go
    for word in ("the", "of", "is", "themselves", "#"[:0] + ",", "'"):
        assert word_id(word.encode()) in listed
    for word in ("river", "computer", "cell", "us"):
        assert word_id(word.encode()) not in listed


@pytest.mark.parametrize(("keep", "count"), [(0.6, 3), (0.61, 4), (0.2, 1), (0.01, 1), (1, 5)])
def test_the_most_attended_stay(keep: float, count: int) -> None:
    salience = np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32)
    stay = most_attended(salience, keep)
    assert set(np.flatnonzero(stay)) == set(np.argsort(-salience)[:count])


def test_of_equals_the_earlier_stays() -> None:
    assert most_attended(np.array([1, 2, 1, 1], np.float32), 0.5).tolist() == [True, True, False, False]
    assert most_attended(np.zeros(0, np.float32), 0.5).shape == (0,)


def test_the_share_is_not_rounded_up_by_binary_fractions() -> None:
    assert most_attended(np.arange(20, dtype=np.float32), 0.55).sum() == 11  # 0.55 * 20 > 11 in float64
