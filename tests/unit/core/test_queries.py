from __future__ import annotations

import numpy as np
import pytest

from irkit.core.queries import Queries

NONE = np.zeros(0, np.int32)


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_of_numbers_the_queries() -> None:
    queries = Queries.of(["a", "b"])
    assert queries.qid == ("1", "2")
    assert queries.text == ("a", "b")
    assert len(queries) == 2
    assert queries.max_excluded == 0


def test_take_keeps_everything_aligned() -> None:
    queries = Queries(
        ("x", "y", "z"),
        ("1", "2", "3"),
        (codes(1, 2), NONE, codes(7)),
        {"v": np.arange(6).reshape(3, 2), "w": ["a", "b", "c"]},
    )
    taken = queries.take([2, 0])
    assert taken.qid == ("z", "x")
    assert taken.text == ("3", "1")
    assert [c.tolist() for c in taken.exclude] == [[7], [1, 2]]
    assert taken.columns["v"].tolist() == [[4, 5], [0, 1]]
    assert taken.columns["w"] == ["c", "a"]
    assert queries.max_excluded == 2
    assert queries.take([]).qid == ()
    assert [taken.keys()[i] for i in (1, 0)] == [queries.keys()[i] for i in (0, 2)]


def test_take_refuses_masks_and_numbers_outside() -> None:
    with pytest.raises(ValueError, match="mask"):
        Queries.of(["a"]).take([True])
    with pytest.raises(IndexError):
        Queries.of(["a"]).take([-1])


def test_replacing_text_and_columns_leaves_the_original() -> None:
    queries = Queries.of(["a"])
    assert queries.with_text(["b"]).text == ("b",)
    assert queries.with_column("c", [1]).with_column("c", [2]).columns == {"c": [2]}
    assert queries.text == ("a",)
    assert queries.columns == {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Queries(("1",), ("a", "b")),
        lambda: Queries(("1",), ("a",), (NONE, NONE)),
        lambda: Queries.of(["a"]).with_column("v", np.zeros((2, 3))),
        lambda: Queries.of(["a", "b"]).with_text(["c"]),
        lambda: Queries(("1", "2", "1"), ("a", "b", "c")),
    ],
)
def test_parts_that_do_not_fit(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"do not fit|rows for|more than once"):
        make()


def test_key_ignores_id_and_empty_exclusions() -> None:
    assert Queries(("7",), ("a",), (NONE,)).keys() == Queries(("8",), ("a",)).keys()


def test_key_sees_text_exclusions_and_columns() -> None:
    base = Queries.of(["a"])
    others = [
        Queries.of(["b"]),
        Queries(("1",), ("a",), (codes(3),)),
        Queries(("1",), ("a",), (codes(4),)),
        base.with_column("c", ["x"]),
        base.with_column("c", ["y"]),
        base.with_column("d", ["x"]),
        base.with_column("c", np.array([1.0])),
        base.with_column("c", np.array([1.0], np.float32)),
        base.with_column("c", np.array([[1.0]])),
        Queries.of(["a\0exclude\0" + codes(3).tobytes().decode()]),
        Queries.of(["a\0c\0\"x\""]),
    ]  # fmt: skip
    keys = [q.keys()[0] for q in [base, *others]]
    assert len(set(keys)) == len(keys)


def test_key_of_a_query_does_not_depend_on_the_batch() -> None:
    alone = Queries.of(["a"]).with_column("s", np.array([["ab"]]))
    batch = Queries.of(["a", "b"]).with_column("s", np.array([["ab"], ["a much longer one"]]))
    assert batch.keys()[0] == alone.keys()[0]


def test_key_of_what_has_no_stable_bytes() -> None:
    with pytest.raises(TypeError, match="cannot be part of a fingerprint"):
        Queries.of(["a"]).with_column("o", np.array([object()])).keys()
