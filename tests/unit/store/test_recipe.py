from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.store import Recipe

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
SPEC = {"stage": "bm25", "options": {"k1": 0.9, "b": 0.4}, "upstream": ["x"], "docs": "d", "queries": None}


@pytest.mark.parametrize(
    "other",
    [
        {**SPEC, "stage": "bm52"},
        {**SPEC, "options": {"k1": 0.9, "b": 0.40000000000000002 + 1e-16}},
        {**SPEC, "options": {"k1": 0.9}},
        {**SPEC, "options": {"k1": 0.9, "b": 0.4, "c": None}},
        {**SPEC, "upstream": ["x", "x"]},
        {**SPEC, "upstream": []},
        {**SPEC, "docs": "e"},
        {**SPEC, "queries": ""},
    ],
)
def test_the_key_depends_on_every_part_of_the_spec(other: dict[str, object]) -> None:
    assert Recipe("rankings", SPEC).key != Recipe("rankings", other).key


def test_the_key_depends_on_kind_and_part() -> None:
    keys = {
        Recipe("a", SPEC).key,
        Recipe("b", SPEC).key,
        Recipe("a", SPEC, "1").key,
        Recipe("a", SPEC, "2").key,
    }
    assert len(keys) == 4


def test_parts_share_the_base() -> None:
    whole, one = Recipe("a", SPEC), Recipe("a", SPEC, "1")
    assert whole.base == one.base == whole.key
    assert one.key == f"{one.base}-1"


def test_the_order_of_keys_means_nothing() -> None:
    assert Recipe("a", dict(reversed(SPEC.items()))).key == Recipe("a", SPEC).key


@given(json_values, json_values)
def test_two_specs_have_one_key_only_when_they_are_equal(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (Recipe("a", {"x": one}).key == Recipe("a", {"x": other}).key) == same
