"""Tests of tasks in threads: their order, how far they run ahead, and their errors."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from irkit.stages.multivector.threads import side_by_side


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_come_in_order_and_do_not_pile_up(threads: int) -> None:
    begun: list[int] = []
    used: set[int] = set()

    def task(number: int) -> int:
        begun.append(number)
        used.add(threading.get_ident())
        return number * number

    got = []
    for result in side_by_side([partial(task, number) for number in range(40)], threads):
        got.append(result)
        assert len(begun) <= len(got) + max(threads, 1)
    assert got == [number * number for number in range(40)]
    assert (threading.get_ident() in used) == (threads < 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_a_task_arrives_and_what_has_not_begun_is_dropped(threads: int) -> None:
    begun: list[int] = []

    def task(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("task 3")
        return number

    results = side_by_side([partial(task, number) for number in range(40)], threads)
    with pytest.raises(ValueError, match="task 3"):
        list(results)
    assert len(begun) <= 4 + threads


def test_nothing_to_do() -> None:
    assert list(side_by_side([], 4)) == []
