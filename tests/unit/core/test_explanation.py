"""Explanations: pieces of a text and what each adds to the score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.explanation import Explains, Explanation


@pytest.mark.parametrize(
    ("pieces", "weights", "words"),
    [
        ((" gr", "een", " tea"), (1.0, 2.0, 4.0), [("green", 3.0), ("tea", 4.0)]),
        (("green", " ", "tea", "\n"), (1.0, 8.0, 4.0, 16.0), [("green", 1.0), ("tea", 4.0)]),
        (("a b", "c", " d e"), (1.0, 2.0, 4.0), [("a", 1.0), ("bc", 2.0), ("d", 4.0), ("e", 0.0)]),
        (("", "a", ""), (1.0, 2.0, 4.0), [("a", 2.0)]),
        ((), (), []),
    ],
)
def test_words_add_their_pieces_up(
    pieces: tuple[str, ...], weights: tuple[float, ...], words: list[tuple[str, float]]
) -> None:
    assert Explanation(0, 1.0, pieces, weights).words() == words


@given(st.lists(st.tuples(st.text("ab \n\u2003", max_size=4), st.integers(-9, 9))))
def test_words_are_those_of_the_text_and_lose_no_weight(pairs: list[tuple[str, int]]) -> None:
    pieces = tuple(piece for piece, _ in pairs)
    found = Explanation(0, 1.0, pieces, tuple(float(weight) for _, weight in pairs)).words()
    assert [word for word, _ in found] == "".join(pieces).split()
    assert sum(weight for _, weight in found) == sum(weight for piece, weight in pairs if piece.strip())


def test_the_strongest_words() -> None:
    seen = Explanation(0, 1.0, ("tea", " or", " bad", " tea", " x"), (1.0, 0.5, -1.75, 1.0, 0.0))
    assert seen.strongest(2) == [("tea", 2.0), ("bad", -1.75)]
    assert seen.strongest(9) == [("tea", 2.0), ("bad", -1.75), ("or", 0.5)]


def test_every_piece_has_a_weight() -> None:
    with pytest.raises(ValueError, match="2 pieces and 1 weights"):
        Explanation(0, 1.0, ("a", "b"), (1.0,))


def test_who_explains_is_told_by_the_method() -> None:
    class Able:
        def explain(self, query: str, rankings: object, state: object, top: int) -> list[Explanation]:
            return []

    assert isinstance(Able(), Explains)
    assert not isinstance(object(), Explains)
