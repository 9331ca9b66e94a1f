"""Options of the query stages as people write them: short forms, and those that would do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from irkit.config.schema import experiment_schema
from irkit.config.steps import read_pipeline
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError, Problem
from irkit.pipeline.registry import make_stage
from irkit.stages.query.gate import Gate


def problem(name: str, **options: Any) -> Problem:
    with pytest.raises(ConfigError) as caught:
        make_stage(name, **options)
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("rocchio", {"gamma": 0.9}, "gamma is about the last documents", "add use_negative: true"),
        ("rocchio", {"bottom_fb_docs": 5}, "bottom_fb_docs is about", "add use_negative: true"),
        ("rocchio", {"bottom_fb_terms": 5}, "bottom_fb_terms is about", "add use_negative: true"),
        ("vector-prf", {"gamma": 0.3}, "gamma weighs the last documents", "bottom: 5"),
        ("adapter", {}, "path: Field required", "the folder that `irkit train` wrote"),
        ("reformulate", {"llm": "https://h/v1"}, "this is an address", "llm: {url: "),
    ],
)
def test_what_would_do_nothing_is_refused(
    name: str, options: dict[str, Any], message: str, hint: str
) -> None:
    found = problem(name, **options)
    assert message in found.message
    assert found.hint is not None and hint in found.hint


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rocchio", {"gamma": 0.9, "bottom_fb_docs": 5, "use_negative": True}),
        ("rocchio", make_stage("rocchio").model_dump()),
        ("vector-prf", {"gamma": 0.3, "bottom": 5}),
        ("vector-prf", {"gamma": 0}),
        ("vector-prf", make_stage("vector-prf").model_dump()),
    ],
)
def test_what_does_something_or_is_the_default_is_taken(name: str, options: dict[str, Any]) -> None:
    assert make_stage(name, **options).model_dump().items() >= options.items()


SHORT = [
    ("rm3", {"gate": True}, {"gate": {}}),
    ("vector-prf", {"gate": False}, {}),
    ("reformulate", {"llm": "qwen2.5-0.5b"}, {"llm": {"model": "qwen2.5-0.5b"}}),
    ("hyde", {"llm": "qwen2.5-0.5b"}, {"llm": {"model": "qwen2.5-0.5b"}}),
    ("prompt-prf", {"llm": "qwen2.5-0.5b"}, {"llm": {"model": "qwen2.5-0.5b"}}),
]


@pytest.mark.parametrize(("name", "short", "long"), SHORT)
def test_short_forms(name: str, short: dict[str, Any], long: dict[str, Any]) -> None:
    assert make_stage(name, **short) == make_stage(name, **long)


def test_true_is_the_default_gate() -> None:
    assert make_stage("rm3", gate=True).gate == Gate()  # type: ignore[attr-defined]


def test_editors_take_short_forms_too() -> None:
    schema = experiment_schema(own=True)
    for name, short, long in SHORT:
        stage = Draft202012Validator({"$ref": f"#/$defs/stage-{name}", "$defs": schema["$defs"]})
        assert stage.is_valid(short) and stage.is_valid(long), name
        assert not stage.is_valid(dict.fromkeys(short, 3))


KEY = """\
- bm25
- STAGE:
    llm: {url: "https://h/v1", model: m, key_variable: A_KEY_OF_TESTS}
- bm25
"""


@pytest.mark.parametrize("stage", ["reformulate", "prompt-prf"])
def test_an_experiment_loads_without_its_key_for_all_texts_may_be_there(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = parse_yaml(KEY.replace("STAGE", stage), "f.yaml")
    found: list[Problem] = []
    monkeypatch.delenv("A_KEY_OF_TESTS", raising=False)
    assert read_pipeline(located, (), located.data, found, tmp_path) is not None
    assert not found


def test_a_file_of_texts_that_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    located = parse_yaml("- reformulate:\n    method: replace\n    llm: {file: no.jsonl}\n- bm25\n", "f.yaml")
    found: list[Problem] = []
    read_pipeline(located, (), located.data, found, tmp_path)
    assert [(each.where, each.message) for each in found] == [("f.yaml:3", "there is no file 'no.jsonl'")]
