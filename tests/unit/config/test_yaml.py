"""YAML as plain data with lines: what is read, and what is refused and where."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from irkit.config.yaml import dump_yaml, parse_yaml
from irkit.core.errors import ConfigError


def refused(text: str) -> tuple[str, str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    (problem,) = caught.value.problems
    return problem.where or "", problem.message, problem.hint or ""


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[1e-3, 1.5, 10, 0o10, 0x1f, no, yes, on, true, ~, null, '1', 2026-01-01, 1:30, '']"
    expected = [0.001, 1.5, 10, 8, 31, "no", "yes", "on", True, None, None, "1", "2026-01-01", "1:30", ""]
    read = parse_yaml(text, "f").data
    assert read == expected
    assert [type(each) for each in read] == [type(each) for each in expected]


def test_every_key_and_item_knows_its_line() -> None:
    located = parse_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: [3,\n      4]\n", "f.yaml")
    assert located.where(("a",)) == "f.yaml:1"
    assert located.where(("b", 1, "d")) == "f.yaml:5"
    assert located.where(("b", 1, "d", 1)) == "f.yaml:6"
    assert located.where(("b", 1, "none", "such")) == "f.yaml:4"  # the nearest that has a line


def test_aliases_are_expanded_to_values_of_their_own() -> None:
    data = parse_yaml("a: &a {k: [1]}\nb: *a\n", "f").data
    assert data["a"] == data["b"]
    assert data["a"] is not data["b"]
    assert data["a"]["k"] is not data["b"]["k"]


def test_nothing_is_none() -> None:
    assert parse_yaml("", "f").data is None
    assert parse_yaml("# only a comment\n", "f").data is None


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3", "the key 'a' stands here a second time, after line 1"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3", "'b'"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2", "not valid YAML"),
        ("a: 'x\n", "f.yaml:2", "not valid YAML"),
        ("a:\n\t- b\n", "f.yaml:2", "not valid YAML"),
        ("a: *nope\n", "f.yaml:1", "undefined alias 'nope'"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2", "single document"),
        ("\na: \x07\n", "f.yaml:2", "the character '\\x07' is not allowed"),
        ("a: 1\nb: !!python/object/apply:os.system ['id']\n", "f.yaml:2", "python/object/apply:os.system"),
        ("a: !!binary aGk=\n", "f.yaml:1", "binary"),
        ("a: !mine {}\n", "f.yaml:1", "!mine"),
        ("a: !!set {x, y}\n", "f.yaml:1", "set"),
        ("a: !!int x\n", "f.yaml:1", "cannot read the value 'x'"),
        ("a: " + "9" * 5000, "f.yaml:1", "cannot read the value"),
        ("a: .nan\n", "f.yaml:1", ".nan"),
        ("a: -.inf\n", "f.yaml:1", "-.inf"),
        ("x: &x {a: 1}\nb:\n  <<: *x\n", "f.yaml:3", "merge keys"),
        ("? [a]\n: b\n", "f.yaml:1", "not text"),
        ("true: 1\n", "f.yaml:1", "'true' is not text"),
        ("~: 1\n", "f.yaml:1", "not text"),
        ("a: &a [*a]\n", "f.yaml:1", "deep"),
        ("a: " + "[" * 1000 + "]" * 1000, "f.yaml", "deep"),
        ("a: " + "{a: " * 150 + "1" + "}" * 150, "f.yaml:1", "deep"),
    ],
)
def test_refused_with_its_line(text: str, where: str, message: str) -> None:
    place, found, hint = refused(text)
    assert place.startswith(where)
    assert message in found
    assert hint
    assert len(found) < 300


def test_aliases_in_aliases_cannot_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    _, message, _ = refused("\n".join(lines))
    assert "100000 values once its aliases are expanded" in message


def test_what_is_written_reads_back() -> None:
    data = {
        "name": "no",
        "list": [1, 0.001, None, True, "yes", "1e3", "2026-01-01"],
        "map": {"ä b": {"c": []}},
    }
    assert parse_yaml(dump_yaml(data), "f").data == data
    assert dump_yaml(data).index("name") < dump_yaml(data).index("list") < dump_yaml(data).index("map")


@given(st.text())
@example("\x85")
@example("a\u2028b")
@example("\ufeff")
@example("\x7f \x9f")
@settings(max_examples=200, deadline=None)
def test_any_text_that_is_written_reads_back(text: str) -> None:
    data = {"a": text, "b": [text], "é": "é"}
    assert parse_yaml(dump_yaml(data), "f").data == data


def test_text_is_written_as_people_read_it() -> None:
    assert "été" in dump_yaml({"description": "été"})
