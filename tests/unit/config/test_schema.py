"""The JSON Schema: sound itself, and of one mind with irkit about what an experiment is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irkit.cli.setup import STARTER
from irkit.config.experiment import load_experiment, read_experiment
from irkit.config.schema import experiment_schema, schema_text
from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError
from irkit.pipeline.registry import stage_names
from irkit.train.recipe import load_recipe

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")

ROOT = Path(__file__).resolve().parents[3]
GOOD: dict[str, Any] = {
    "name": "good",
    "collections": ["irkit/limit-synthetic", {"path": "folder", "split": "dev"}],
    "metrics": ["ndcg@10"],
    "pipelines": {
        "one": [{"bm25": {"k": 10, "threads": None}}, {"maxsim": {"model": "minilm"}}, {"cutoff": {"k": 5}}],
        "two": "bm25",
        "three": {"bm25": None},
        "four": [{"fuse": {"method": "rrf", "of": [["bm25"], {"dense": {"model": "minilm"}}]}}],
    },
    "baseline": "one",
    "expected": {"irkit/limit-synthetic": {"one": {"ndcg@10": 0.5}}},
    "tolerance": 0.001,
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def irkit_accepts(data: Any) -> bool:
    try:
        read_experiment(Located(data, "f.yaml"))
    except ConfigError:
        return False
    return True


def test_a_good_experiment(validator: Any) -> None:
    validator.validate(GOOD)
    assert irkit_accepts(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"name": "a/b"},
        {"name": 5},
        {"collections": []},
        {"collections": "beir/scifact/test"},
        {"collections": [{"path": "x", "spilt": "dev"}]},
        {"collections": [5]},
        {"metrics": []},
        {"metrics": "map"},
        {"pipelines": {}},
        {"pipelines": ["bm25"]},
        {"pipelines": {"one": 5}},
        {"pipelines": {"one": ["bm52"]}},
        {"pipelines": {"one": [{"bm52": {}}]}},
        {"pipelines": {"one": [{"bm25": {"kk": 5}}]}},
        {"pipelines": {"one": [{"bm25": {"k": 0}}]}},
        {"pipelines": {"one": [{"bm25": {"b": 1.5}}]}},
        {"pipelines": {"one": [{"bm25": 5}]}},
        {"pipelines": {"one": [{"bm25": {}, "cutoff": {"k": 5}}]}},
        {"pipelines": {"one": ["bm25", {"cutoff": {"k": "many"}}]}},
        {"pipelines": {"one": [{"fuse": {}}]}},
        {"pipelines": {"one": [{"fuse": {"of": [["bm25"]]}}]}},
        {"pipelines": {"one": [{"fuse": {"of": [["bm25"], ["bm52"]]}}]}},
        {"pipelines": {"one": [{"fuse": {"method": "rff", "of": [["bm25"], ["bm25"]]}}]}},
        {"description": ["x"]},
        {"tolerance": 2},
        {"expected": []},
    ],
    ids=str,
)
def test_what_the_schema_refuses_irkit_refuses(validator: Any, change: dict[str, Any]) -> None:
    small = {**GOOD, "collections": ["irkit/limit-synthetic"], "pipelines": {"one": ["bm25"]}}
    validator.validate(small)
    assert irkit_accepts(small)
    assert not validator.is_valid({**small, **change})
    assert not irkit_accepts({**small, **change})


@pytest.mark.parametrize("key", ["name", "collections", "metrics", "pipelines"])
def test_keys_that_must_be_there(validator: Any, key: str) -> None:
    assert not validator.is_valid({k: v for k, v in GOOD.items() if k != key})


def test_every_stage_is_there_with_all_its_options(validator: Any) -> None:
    definitions = validator.schema["$defs"]
    for name in stage_names():
        assert f"stage-{name}" in definitions
        assert definitions[f"stage-{name}"]["additionalProperties"] is False
        assert definitions[f"stage-{name}"]["description"]
    assert definitions["stage-bm25"]["properties"]["k1"]["default"] == 0.9


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_the_pipelines_of_the_repository_are_good(validator: Any, path: Path) -> None:
    load_experiment(path)
    validator.validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)).data)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pipelines" / "train").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_recipes_of_the_repository_are_good(path: Path) -> None:
    load_recipe(path)


def test_the_experiment_that_init_writes_is_good(validator: Any) -> None:
    data = parse_yaml(STARTER, "first.yaml").data
    validator.validate(data)
    assert irkit_accepts(data)


def test_the_schema_in_docs_is_the_schema() -> None:
    path = ROOT / "docs" / "irkit.schema.json"
    assert path.read_text(encoding="utf-8") == schema_text(own=True), (
        "renew it: irkit schema -o docs/irkit.schema.json"
    )


def test_a_registered_stage_is_offered_too(toy_stages: Path) -> None:
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "toy" in json.dumps(schema)
    assert not jsonschema.Draft202012Validator(schema).is_valid(
        {**GOOD, "pipelines": {"p": [{"toy": {"kk": 1}}]}}
    )
