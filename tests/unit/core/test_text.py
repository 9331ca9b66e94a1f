"""Text of others, made fit to be shown."""

from __future__ import annotations

import sys
import unicodedata

from irkit.core.text import inert, well_formed


def test_of_all_characters_the_control_characters_are_replaced_but_for_white_space() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        control = unicodedata.category(character) == "Cc" and character not in "\t\n\r"
        assert inert(character) == ("\ufffd" if control else character)


def test_the_rest_stays() -> None:
    assert inert("a\x1b]0;two\x07\tb\r\n") == "a\ufffd]0;two\ufffd\tb\r\n"


def test_halves_of_surrogate_pairs_are_joined_or_replaced() -> None:
    for text, expected in (
        ("", ""),
        ("\ufeffplain \U0001f600\0", "\ufeffplain \U0001f600\0"),
        ("a\ud83d\ude00b", "a\U0001f600b"),
        ("\ude00a\ud83d", "\ufffda\ufffd"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ):
        assert well_formed(text) == expected
        well_formed(text).encode()
