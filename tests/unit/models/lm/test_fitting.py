"""Tests of work that is divided until it fits into the device's memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from irkit.core.errors import ModelError
from irkit.models.lm.fitting import fitting

SIZES = st.lists(st.integers(0, 9), max_size=12)


def cost(sizes: list[int], padded: bool) -> int:
    return max(sizes) * len(sizes) if padded else sum(sizes)


class Device:
    """Has room for a certain cost, and writes down what it did and what it could not."""

    def __init__(self, sizes: list[int], room: int, padded: bool = False) -> None:
        self.sizes, self.room, self.padded = sizes, room, padded
        self.done: list[tuple[int, int]] = []
        self.failed: list[tuple[int, int]] = []

    def run(self, start: int, stop: int) -> list[int]:
        if cost(self.sizes[start:stop], self.padded) > self.room:
            self.failed.append((start, stop))
            assert len(self.failed) < 99, "it is tried for ever"
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.done.append((start, stop))
        return list(range(start, stop))


def refuse(alone: int) -> ModelError:
    return ModelError.of(f"no room for {alone}", where="here")


@given(SIZES, st.integers(0, 60), st.booleans(), st.booleans())
def test_stretches_are_the_longest_within_the_budget(
    sizes: list[int], budget: int, padded: bool, share: bool
) -> None:
    device = Device(sizes, 10**9, padded)
    found = list(fitting(sizes, budget, device.run, refuse, share=share, padded=padded))
    assert found == list(range(len(sizes)))
    for start, stop in device.done:
        assert stop == start + 1 or (share and cost(sizes[start:stop], padded) <= budget)
        if share and stop < len(sizes):
            assert cost(sizes[start : stop + 1], padded) > budget


@given(SIZES, st.integers(0, 60), st.integers(-1, 60), st.booleans())
@example([0, 0], 9, -1, False)
def test_too_little_memory_shortens_them_or_is_said(
    sizes: list[int], budget: int, room: int, padded: bool
) -> None:
    device, told = Device(sizes, room, padded), []
    work = fitting(
        sizes, budget, device.run, refuse, share=True, padded=padded, halved=lambda *given: told.append(given)
    )
    large = [at for at, size in enumerate(sizes) if size > room]
    if large:
        with pytest.raises(ModelError, match=f"no room for {large[0]}$") as caught:
            list(work)
        assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
        assert device.failed.pop() == (large[0], large[0] + 1)
    else:
        assert list(work) == list(range(len(sizes)))
    assert [stretch for _, *stretch in told] == [list(each) for each in device.failed]
    assert all(later < sooner for (sooner, *_), (later, *_) in pairwise(told))
    for smaller, start, stop in told:
        failed = cost(sizes[start:stop], padded)
        assert smaller == (failed // 2 if failed else -1)


def test_the_smaller_budget_holds_for_what_follows() -> None:
    device = Device([1] * 12, 3)
    list(fitting([1] * 12, 6, device.run, refuse, share=True))
    assert device.failed == [(0, 6)]
    assert device.done == [(0, 3), (3, 6), (6, 9), (9, 12)]


@pytest.mark.parametrize("error", [RuntimeError("something else"), ValueError("out of memory")])
def test_other_errors_are_not_taken_for_memory(error: Exception) -> None:
    def run(_start: int, _stop: int) -> list[int]:
        raise error

    with pytest.raises(type(error), match=str(error)):
        list(fitting([1, 2], 9, run, refuse, share=True))


def test_what_was_given_out_is_let_go_before_more_is_made() -> None:
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1
            assert Large.alive == 1

        def __del__(self) -> None:
            Large.alive -= 1

    run: Callable[[int, int], list[Large]] = lambda start, stop: [Large() for _ in range(start, stop)]  # noqa: E731
    for large in fitting([1, 1, 1], 1, run, refuse, share=True):
        del large
