from __future__ import annotations

import numpy as np
import pytest

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.stages import forms

QUERIES = Queries.of(["one", "two"])


def test_terms_come_back_and_a_query_without_any_keeps_its_text() -> None:
    given = forms.with_terms(QUERIES, "porter", [{"b": 0.5, "a": 2}, None])

    assert forms.terms_of(given, "porter") == [{"b": 0.5, "a": 2.0}, None]
    assert forms.terms_of(QUERIES, "porter") == [None, None]


def test_vectors_and_tokens_come_back() -> None:
    vectors, tokens = np.eye(2, dtype=np.float32), np.ones((2, 3, 2), np.float32)
    given = forms.with_tokens(forms.with_vectors(QUERIES, vectors, "v"), tokens, "t")

    assert np.array_equal(forms.vectors_of(given, "v"), vectors)
    assert np.array_equal(forms.tokens_of(given, "t"), tokens)
    assert forms.vectors_of(QUERIES, "v") is None
    assert forms.tokens_of(QUERIES, "t") is None


@pytest.mark.parametrize(
    ("given", "take", "hint"),
    [
        (forms.with_terms(QUERIES, "porter", [{"a": 1}, None]), forms.terms_of, "analyzer"),
        (forms.with_vectors(QUERIES, np.eye(2, dtype=np.float32), "v"), forms.vectors_of, "model"),
        (forms.with_tokens(QUERIES, np.ones((2, 1, 2), np.float32), "t"), forms.tokens_of, "tokens"),
    ],
    ids=["terms", "vector", "tokens"],
)
def test_a_form_of_another_space_is_refused(given: Queries, take: object, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)belong to .*{hint}"):
        take(given, "other")  # type: ignore[operator]


def test_another_text_drops_what_was_made_of_the_old_one_and_keeps_the_first() -> None:
    given = forms.with_terms(QUERIES, "porter", [{"a": 1}, None]).with_column("mine", [1, 2])
    once = forms.rewritten(given, ["eins", "zwei"])
    twice = forms.rewritten(once, ["un", "deux"])

    assert once.text == ("eins", "zwei")
    assert forms.terms_of(once, "porter") == [None, None]
    assert once.columns["mine"] == [1, 2]
    assert twice.text == ("un", "deux")
    assert twice.columns[forms.ORIGINAL] == ["one", "two"]


def test_a_query_whose_text_stays_keeps_its_terms_and_nothing_that_has_no_none() -> None:
    given = forms.with_terms(QUERIES, "porter", [{"a": 1}, {"b": 1}])
    given = forms.with_vectors(given, np.eye(2, dtype=np.float32), "v")
    given = forms.with_tokens(given, np.ones((2, 3, 2), np.float32), "t")
    for texts, left in ((["one", "zwei"], [{"a": 1.0}, None]), (["one", "two"], [{"a": 1.0}, {"b": 1.0}])):
        after = forms.rewritten(given, texts)
        assert forms.terms_of(after, "porter") == left
        assert forms.vectors_of(after, "v") is None  # or it would hang on the other queries
        assert forms.tokens_of(after, "t") is None
        with pytest.raises(ConfigError, match="weighted terms"):
            forms.terms_of(after, "whitespace")


def test_a_query_without_terms_has_none_of_another_space() -> None:
    given = forms.rewritten(forms.with_terms(QUERIES, "porter", [{"a": 1}, None]), ["eins", "zwei"])
    assert forms.terms_of(given, "whitespace") == [None, None]


def test_what_is_told_adds_up() -> None:
    told = forms.told(forms.told(QUERIES, ["first", ""]), ["second", "only"])

    assert told.columns[forms.TOLD] == [["first", "second"], ["only"]]
