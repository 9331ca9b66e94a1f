"""Rankings parted into what is learned from and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from irkit.train.sources.mined import mined
from irkit.train.sources.options import Negatives

RANKING = [7, 3, 9, 4, 1, 8, 2]


def parted(relevant: list[int], **options: Any) -> tuple[list[int], ...]:
    return tuple(mined(RANKING, relevant, Negatives(**options), lambda codes: codes))


def test_positives_are_in_the_order_of_the_ranking() -> None:
    assert parted([1, 3, 5]) == ([3, 1, 5], [7, 9, 4, 8, 2], [1, 3], [])


def test_only_what_is_found_is_learned_from() -> None:
    assert parted([1, 3, 5], positives="found") == ([3, 1], [7, 9, 4, 8, 2], [1, 3], [5])
    assert parted([1, 3, 5], positives="found", depth=3) == ([3], [7, 9], [1], [1, 5])
    assert parted([5], positives="found") == ([], RANKING, [], [5])


@pytest.mark.parametrize(
    ("options", "negatives", "ahead"),
    [({"skip": 2}, [9, 4, 8, 2], [0, 2]), ({"keep": 2}, [7, 9], [1, 2]), ({"depth": 5}, [7, 9, 4], [1, 3])],
)
def test_ranks_count_the_negatives_that_are_kept(
    options: dict[str, int], negatives: list[int], ahead: list[int]
) -> None:
    assert parted([3, 1], **options) == ([3, 1], negatives, ahead, [])


def test_what_can_be_no_negative_is_left_out() -> None:
    found = mined(RANKING, [1], Negatives(keep=2), lambda codes: [code for code in codes if code % 3])
    assert found == ([1], [7, 4], [2], [])
