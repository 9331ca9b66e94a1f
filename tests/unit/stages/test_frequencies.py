"""Tests of the document frequencies of words in a token store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tiny_tokens import TEXTS, Fake, FakeEncoder, opened

from irkit.core.errors import ModelError
from irkit.models.words import word_id
from irkit.pipeline.context import Context
from irkit.stages.multivector import frequencies
from irkit.stages.multivector.frequencies import frequencies_recipe, open_frequencies
from irkit.store import Recipe


def recipe(context: Context) -> Recipe:
    return frequencies_recipe(Fake().token_recipes(context)[-1])


@pytest.mark.parametrize("block", [1, 50, 1 << 22])
def test_a_word_counts_once_a_document(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(frequencies, "_BLOCK", block)
    context = make_context(TEXTS)
    found = open_frequencies(context, recipe(context), opened(context, {}), "fake")
    words = sorted({word for text in TEXTS for word in text.split()})
    counts = {word_id(word.encode()): sum(word in text.split() for text in TEXTS) for word in words}
    assert dict(zip(found.words.tolist(), found.counts.tolist(), strict=True)) == counts
    assert found.documents == len(TEXTS)
    asked = np.array([word_id(b"cat"), word_id(b"unheard"), 0], np.uint32)
    expected = np.log(41 / (np.array([counts[word_id(b"cat")], 0, 0]) + 1))
    np.testing.assert_allclose(found.idf(asked), expected, rtol=1e-12)


def test_they_are_counted_once(make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(TEXTS)
    tokens = opened(context, {})
    one = open_frequencies(context, recipe(context), tokens, "fake")
    monkeypatch.setattr(frequencies, "_count", None)
    assert np.array_equal(open_frequencies(context, recipe(context), tokens, "fake").counts, one.counts)


def test_without_any_word_all_are_as_rare(make_context: Callable[..., Context]) -> None:
    context = make_context(["", ""])
    found = open_frequencies(context, recipe(context), opened(context, {}), "fake")
    assert found.idf(np.array([5], np.uint32)).tolist() == [np.log(3)]


def test_words_that_nobody_knows_are_an_error(make_context: Callable[..., Context]) -> None:
    context = make_context(TEXTS)
    tokens = opened(context, {}, FakeEncoder(words=False))
    with pytest.raises(ModelError, match=r"does not say which tokens make a word(?s:.)*WordPiece"):
        open_frequencies(context, recipe(context), tokens, "fake")
