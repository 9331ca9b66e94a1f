"""Which queries of a collection tell most."""

from __future__ import annotations

from typing import Any

import numpy as np

from irkit.api.telling import telling_rows


def _values(**rows: list[float]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return {name: np.array(row) for name, row in rows.items()}


def test_pipelines_and_the_worst_name_queries_in_turn() -> None:
    values = _values(
        base=[0.5, 0.5, 0.5, 0.5, 0.5, 0.1],
        one=[0.0, 0.9, 0.4, 0.5, 0.5, 0.1],
        two=[0.5, 0.5, 0.5, 0.7, 0.5, 0.1],
    )
    judged = [10, 11, 12, 13, 14, 15]
    # one: lost 10, won 11, lost 12; two: won 13; worst: 15, 10, 12, 14, 13, 11
    assert telling_rows(judged, values, "base", (), 9) == [10, 13, 15, 11, 12, 14]
    assert telling_rows(judged, values, "base", (), 2) == [10, 13]
    assert telling_rows(judged, values, "base", (14, 99, 14), 3) == [14, 99, 10]
    assert telling_rows(judged, values, "base", (14, 99), 1) == [14, 99]


def test_without_a_baseline_it_is_where_pipelines_differ() -> None:
    values = _values(one=[0.5, 0.5, 0.5, 0.0], two=[0.5, 0.6, 0.9, 0.0])
    assert telling_rows(range(4), values, None, (), 3) == [2, 3, 1]
    assert telling_rows(range(4), values, "gone", (), 3) == [2, 3, 1]


def test_of_one_pipeline_it_is_the_worst_and_of_equal_ones_the_first() -> None:
    assert telling_rows(range(4), _values(one=[0.5, 0.0, 0.5, 0.0]), "one", (), 3) == [1, 3, 0]
    assert telling_rows(range(3), _values(one=[0.0, 0.0, 0.0]), None, (), 2) == [0, 1]
