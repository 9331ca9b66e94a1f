from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.core.fingerprint import canonical, file_sha256, fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_canonical_is_json_of_the_value(value: object) -> None:
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))


def test_known_text_and_digest() -> None:
    assert canonical({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'
    assert fingerprint({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_same_meaning() -> None:
    assert canonical((1, 2)) == canonical([1, 2])
    assert canonical(MappingProxyType({"a": {"b": (1,)}})) == canonical({"a": {"b": [1]}})
    assert canonical(-0.0) == canonical(0.0)
    assert canonical(np.float64(0.1)) == canonical(0.1)


def test_other_meaning() -> None:
    different = [1, 1.0, True, "1", [1], None, "None", {"1": 1}, [[1]], 0.1, 0.1 + 2**-56, "", [], {}]
    assert len({fingerprint(value) for value in different}) == len(different)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, float("nan")]}, r"value\.a\[1\]: nan"),
        (float("inf"), "value: inf"),
        ({1: 2}, "key 1 is not a string"),
        ({"a": {1, 2}}, r"value\.a: set"),
        ({"p": Path("x")}, r"value\.p: "),
        (np.int32(1), "value: int32"),
        (b"x", "value: bytes"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        canonical(value)


def test_lone_surrogates_have_a_fingerprint() -> None:
    assert fingerprint("\ud800") != fingerprint("\ud801")


def test_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()
