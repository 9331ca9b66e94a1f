"""The Pareto front against its definition."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.report.pareto import front

LARGER = [True, False, False]
few = st.integers(-3, 3).map(float)  # few values, so that ties and duplicates abound
numbers = few | st.floats(allow_nan=False)


def dominated(one: tuple[float, ...], other: tuple[float, ...], larger: list[bool]) -> bool:
    """Whether ``other`` is at least as good as ``one`` everywhere, and better somewhere."""
    pairs = [(b, a) if up else (a, b) for a, b, up in zip(one, other, larger, strict=True)]
    return all(b <= a for a, b in pairs) and any(b < a for a, b in pairs)


@given(st.data())
def test_a_point_is_on_the_front_when_none_dominates_it(data: st.DataObject) -> None:
    larger = data.draw(st.lists(st.booleans(), min_size=1, max_size=4))
    points = data.draw(st.lists(st.tuples(*[numbers] * len(larger)), max_size=12))
    expected = [not any(dominated(one, other, larger) for other in points) for one in points]
    assert front(points, larger) == expected


def test_quality_up_latency_and_size_down() -> None:
    points = [(0.5, 10.0, 5.0), (0.4, 20.0, 5.0), (0.4, 20.0, 4.0), (0.6, 99.0, 9.0), (0.5, 10.0, 5.0)]
    assert front(points, LARGER) == [True, False, True, True, True]
    assert front([], LARGER) == []


@pytest.mark.parametrize("bad", [math.nan, None, "1", True])
def test_what_is_no_number_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="point 1 has a coordinate that is no number"):
        front([(0.0, 0.0, 0.0), (0.0, bad, 0.0)], LARGER)


def test_points_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="point 0 has 2 coordinates, not 3"):
        front([(1.0, 2.0)], LARGER)
    with pytest.raises(ValueError, match="at least one"):
        front([], [])
