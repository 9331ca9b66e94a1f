"""Tests of texts that have no UTF-8 bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.text import well_formed


def joined(pair: re.Match[str]) -> str:
    """The formula of the Unicode Standard, 3.9 D91."""
    return chr(0x10000 + (ord(pair[0][0]) - 0xD800) * 0x400 + ord(pair[0][1]) - 0xDC00)


@given(st.text(st.sampled_from("a \ufeff\ufffe\0é中😀\ud83d\ud800\udbff\ude00\udc00\udfff")))
def test_pairs_are_joined_and_halves_replaced(text: str) -> None:
    paired = re.sub("[\ud800-\udbff][\udc00-\udfff]", joined, text)
    assert well_formed(text) == re.sub("[\ud800-\udfff]", "\ufffd", paired)
    assert well_formed(text).encode().decode() == well_formed(text)


@pytest.mark.parametrize("text", ["", "plain", "\ufeff😀\0"])
def test_a_text_of_whole_characters_stays(text: str) -> None:
    assert well_formed(text) is text


def test_a_byte_of_the_command_line_that_is_not_utf_8() -> None:
    assert well_formed(b"a \xff b".decode("utf-8", "surrogateescape")) == "a \ufffd b"
