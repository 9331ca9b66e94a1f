"""Values as YAML writes them on one line: whatever is written reads back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.config.yaml import parse_yaml
from irkit.core.flow import flow

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
# text that JSON and YAML escape alike: without control characters, line ends and lone surrogates
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126))
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0.5, "0.5"),
        ("residual-2", "residual-2"),
        ("org/name@main", "org/name@main"),
        ("", '""'),
        ("null", '"null"'),
        ("True", '"True"'),
        ("2", '"2"'),
        ("query: ", '"query: "'),
        ({"dim": 128, "words": True, "prune": None}, "{dim: 128, words: true, prune: null}"),
        ([1, ("a", [])], "[1, [a, []]]"),
    ],
)
def test_written(value: Any, text: str) -> None:
    assert flow(value) == text


def test_what_is_no_plain_value_is_shown_by_its_name() -> None:
    assert flow({"a": print}) == '{a: "<built-in function print>"}'


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert parse_yaml(flow(value), "x").data == value
