"""The Pareto front: what nothing else beats in every respect."""

from __future__ import annotations

import math
from collections.abc import Sequence


def front(points: Sequence[tuple[float, ...]], larger_is_better: Sequence[bool]) -> list[bool]:
    """Return for each point whether it is on the front: whether no other is at least as good everywhere and better somewhere.

    Points that are equal are all on it, or none is.

    Args:
        points: of one length, at least 1; infinities are numbers too.
        larger_is_better: for each coordinate.

    Raises:
        ValueError: for a coordinate that is no number (NaN, None), or points of another length.
    """
    width = len(larger_is_better)
    if width == 0:
        raise ValueError("a point has at least one coordinate")
    costs = []
    for number, point in enumerate(points):
        if len(point) != width:
            raise ValueError(f"point {number} has {len(point)} coordinates, not {width}")
        for value in point:
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise ValueError(f"point {number} has a coordinate that is no number: {value!r}")
        costs.append(tuple(-v if larger else v for v, larger in zip(point, larger_is_better, strict=True)))
    # In ascending order of costs, only a point before another can dominate it, and one that is dominated is so by one of the front.
    best: list[tuple[float, ...]] = []
    for cost in sorted(set(costs)):
        if not any(all(mine <= theirs for mine, theirs in zip(each, cost, strict=True)) for each in best):
            best.append(cost)
    on_front = set(best)
    return [cost in on_front for cost in costs]
