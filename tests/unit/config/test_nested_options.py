"""Mistakes inside an option that is a mapping itself: the right name, line, choices and remedy."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from irkit.config.experiment import read_experiment
from irkit.config.yaml import parse_yaml
from irkit.core.errors import ConfigError
from irkit.pipeline.options import OptionError, option_faults
from irkit.pipeline.registry import make_stage

HEAD = """\
name: x
collections: [irkit/limit-small]
metrics: [ndcg@10]
pipelines:
  one:
"""
"""Five lines: the steps begin at line 6."""

Told = tuple[str, str, str]


def told(steps: str) -> list[Told]:
    with pytest.raises(ConfigError) as caught:
        read_experiment(parse_yaml(HEAD + steps, "f.yaml"))
    return [(p.where or "", p.message, p.hint or "") for p in caught.value.problems]


MAPPING = """\
    - maxsim:
        model: minilm
        tokens:
          dim: 64
          {}
"""


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        (
            "pool: 0",
            "tokens.pool: Input should be greater than 0, not 0",
            "leave it out for the default, 1",
        ),
        ("dims: 64", "tokens: unknown option 'dims'", "did you mean 'dim'?"),
        (
            "x: 64",
            "tokens: unknown option 'x'",
            "choose one of: codec, dim, keep, pool, prune, words",
        ),
        (
            "prune: stopwords",
            "tokens.prune: Input should be 'stop-words' or 'attention', not 'stopwords'",
            "did you mean 'stop-words'?",
        ),
        (
            "codec: zip",
            "tokens.codec: Input should be 'float16', 'int8', 'residual-1', 'residual-2' or 'residual-4', "
            "not 'zip'",
            "leave it out for the default, float16",
        ),
        (
            "keep_raw: false",
            "tokens: unknown option 'keep_raw'",
            "it stands beside tokens, not in it: keep_raw: false",
        ),
    ],
)
def test_an_option_inside_a_mapping_has_its_own_name_line_and_remedy(
    written: str, message: str, hint: str
) -> None:
    assert told(MAPPING.format(written)) == [("f.yaml:10", message, hint)]
    assert told(f"    - maxsim: {{tokens: {{{written}}}}}\n") == [("f.yaml:6", message, hint)]


def test_all_mistakes_of_a_mapping_come_with_their_lines() -> None:
    found = told(MAPPING.format("pool: 0\n          word: true\n        depth: 0"))
    assert [(where, message.partition(" ")[0]) for where, message, _ in found] == [
        ("f.yaml:10", "tokens.pool:"),
        ("f.yaml:11", "tokens:"),
        ("f.yaml:12", "depth:"),
    ]


@pytest.mark.parametrize(
    ("value", "example"),
    [("128", "{dim: 128}"), ("int8", "{codec: int8}"), ("stop-words", "{prune: stop-words}")],
)
def test_a_bare_value_is_answered_with_the_mapping_it_belongs_to(value: str, example: str) -> None:
    ((where, message, hint),) = told(f"    - maxsim:\n        tokens: {value}\n")
    assert where == "f.yaml:7"
    assert message.startswith(f"tokens: Input should be a mapping such as {example}, not ")
    assert hint.startswith("leave it out for the default, {dim: null, words: false, prune: null, ")


@pytest.mark.parametrize("value", ["", "[dim, 128]", "nothing of that"])
def test_a_value_that_no_option_takes_is_answered_with_some_mapping(value: str) -> None:
    ((where, message, _),) = told(f"    - maxsim:\n        tokens: {value}\n")
    assert where == "f.yaml:7"
    assert "tokens: Input should be a mapping such as {words: false}, not " in message


def test_options_that_do_not_go_together_keep_their_own_message() -> None:
    ((where, message, _),) = told("    - maxsim:\n        tokens: {keep: 0.3}\n")
    assert where == "f.yaml:7"
    assert message == (
        "tokens: keep says how much attention pruning leaves: add prune: attention, or leave keep out"
    )


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        (
            "maxsim: {prune: attention}",
            "unknown option 'prune'",
            "that is an option of tokens: tokens: {prune: attention}",
        ),
        (
            "dense: {m: 16}",
            "unknown option 'm'",
            "that is an option of hnsw and of ivf_pq: hnsw: {m: 16}",
        ),
        ("dense: {hsnw: {m: 16}}", "unknown option 'hsnw'", "did you mean 'hnsw'?"),
    ],
)
def test_an_option_that_belongs_into_a_mapping_is_shown_there(step: str, message: str, hint: str) -> None:
    assert told(f"    - {step}\n") == [("f.yaml:6", message, hint)]


def test_the_mappings_of_dense() -> None:
    steps = """\
    - dense:
        hnsw:
          m: 1
        ivf_pq:
          nprob: 3
"""
    assert told(steps) == [
        (
            "f.yaml:8",
            "hnsw.m: Input should be greater than or equal to 2, not 1",
            "leave it out for the default, 32",
        ),
        ("f.yaml:10", "ivf_pq: unknown option 'nprob'", "did you mean 'nprobe'?"),
    ]
    ((_, message, _),) = told("    - dense: {ivf_pq: 8}\n")
    assert message == "ivf_pq: Input should be a mapping such as {nlist: 8}, not 8"


def test_a_mapping_whose_stage_has_defaults_of_its_own() -> None:
    ((_, _, hint),) = told("    - colberter: {tokens: {prune: nothing}}\n")
    assert hint == "leave it out for the default, stop-words"


def test_the_policy_of_a_collection() -> None:
    text = HEAD.replace("[irkit/limit-small]", "\n  - path: x\n    policy:\n      drop_slef: true")
    with pytest.raises(ConfigError) as caught:
        read_experiment(parse_yaml(text + "    - bm25\n", "f.yaml"))
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == ("f.yaml:5", "policy: unknown option 'drop_slef'")
    assert problem.hint == "did you mean 'drop_self'?"


def test_mistakes_in_python_are_told_like_those_in_yaml() -> None:
    with pytest.raises(ConfigError) as caught:
        make_stage("maxsim", tokens={"pool": 0, "dims": 64}, prune="attention")
    assert [(p.where, p.message, p.hint) for p in caught.value.problems] == [
        (
            "maxsim",
            "tokens.pool: Input should be greater than 0, not 0",
            "leave it out for the default, 1",
        ),
        ("maxsim", "tokens: unknown option 'dims'", "did you mean 'dim'?"),
        (
            "maxsim",
            "unknown option 'prune'",
            "that is an option of tokens: tokens: {prune: attention}",
        ),
    ]


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        ("icr: {layers: 10-13}", "layers: .*the first layer and the last, not '10-13'", "write [10, 13]"),
        ("icr: {layers: 12}", "layers: .*, not 12", "write [12, 12]"),
        ("icr: {layers: [4, 5, 6]}", "layers: ", "write [4, 6]"),
        ("icr: {layers: middle}", "layers: ", "write [10, 13]"),
        ("icr: {order_control: yes}", "order_control: this is no seed, not 'yes'", "write true, or a seed"),
        ("listwise: {order_control: x}", "order_control: this is no seed, not 'x'", "write true, or a seed"),
        ("icr: {heads: [13-4, 11.0]}", "heads: this must be layer-head, ", "layer-head, e.g. [11-0, "),
        ("blockrank: {heads: 3}", "heads: this must be layer-head, .*, not 3", "layer-head, e.g. [11-0, "),
        ("icr: {explanations: true}", "explanations: .* how many queries, not True", "write a number"),
        ("blockrank: {explanations: false}", "explanations: .*, not False", "write a number, such as 3; 0"),
        ("icr: {stride: 5}", "stride needs window", "give window too, such as {window: 10, stride: 5}"),
        (
            "blockrank: {layout: released, cache_gb: 8}",
            "cache_gb: .* in layout query-free only",
            "add layout: query-free",
        ),
    ],
)
def test_a_stage_that_knows_the_remedy_says_it(step: str, message: str, hint: str) -> None:
    ((_, told_message, told_hint),) = told(f"    - {step}\n")
    assert re.match(message, told_message)
    assert told_hint.startswith(hint) or f"write {hint}" in told_hint


def test_what_those_options_may_be_is_read_as_before() -> None:
    icr = make_stage("icr", layers=[10, 13], order_control=7, explanations=2, window=10, stride=5)
    assert icr.model_dump(include={"layers", "order_control", "explanations", "stride"}) == {
        "layers": (10, 13),
        "order_control": 7,
        "explanations": 2,
        "stride": 5,
    }
    for heads in (["13-4", "11-0"], ("13-4", "11-0"), "mine.json", None):
        expected = tuple(heads) if isinstance(heads, list) else heads
        assert make_stage("blockrank", heads=heads).model_dump()["heads"] == expected
    schema = type(icr).model_json_schema()["properties"]
    assert [each["type"] for each in schema["heads"]["anyOf"]] == ["string", "array", "null"]
    assert [each["type"] for each in schema["layers"]["anyOf"]] == ["array", "null"]
    assert (schema["explanations"]["type"], schema["explanations"]["maximum"]) == ("integer", 100)


def test_a_mappings_own_check_may_know_the_remedy_too() -> None:
    class Inner(BaseModel):
        a: int = 0

        @model_validator(mode="after")
        def _even(self) -> Inner:
            if self.a % 2:
                raise OptionError("a is odd", "take another")
            return self

    class Outer(BaseModel):
        inner: Inner = Field(default_factory=Inner)

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"a": 1}})
    assert option_faults(caught.value, Outer.model_fields) == [
        (("inner",), "inner: a is odd", "take another")
    ]
