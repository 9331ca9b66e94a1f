"""docs/training.md names every option of a recipe with its default, and none else; the schema of recipes takes every example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from irkit.config.yaml import parse_yaml
from irkit.train.bi_encoder import BiEncoderOptions
from irkit.train.distil import Distil
from irkit.train.kinds import kind_names, kind_of
from irkit.train.recipe import KEYS, Training, Validation
from irkit.train.schema import recipe_schema, schema_text
from irkit.train.sources.options import DataSource, Negatives

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
TITLES: dict[str, type[BaseModel]] = {
    "Each source in `data`": DataSource,
    "`negatives`": Negatives,
    "`validation`": Validation,
    "`training`": Training,
    "`distil`": Distil,
    "`options` of `blockrank`": kind_of("blockrank").Options,
    "`options` of all other kinds": BiEncoderOptions,
    **{
        f"Further `options` of `{name}`": kind_of(name).Options
        for name in kind_names()
        if name != "blockrank"
    },
}


def table(title: str) -> dict[str, str]:
    """Return the first two columns of the table below a line that begins so; a row may have several options."""
    section = TEXT.partition("\n## Options of a recipe\n")[2]
    found = re.search(rf"^{re.escape(title)}[^\n]*:\n\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert found, title
    rows = [[cell.strip() for cell in row.split("|")[1:3]] for row in found[1].splitlines()[2:]]
    said: dict[str, str] = {}
    for names, defaults in rows:
        split = (
            defaults.split(", ") if defaults.count("`, `") else [defaults] * names.count("`, `") + [defaults]
        )
        said |= dict(zip(re.findall(r"`(\w+)`", names), split, strict=True))
    return said


def value(text: str) -> Any:
    return parse_yaml(f"x: {text.strip('`')}", "docs").data["x"]


@pytest.mark.parametrize("title", TITLES)
def test_every_option_is_documented_with_its_default(title: str) -> None:
    model, said = TITLES[title], table(title)
    shared = set(BiEncoderOptions.model_fields) if title.startswith("Further") else set()
    assert set(said) == set(model.model_fields) - shared
    for name, text in said.items():
        field = model.model_fields[name]
        usual, *others = text.split("; ")
        if field.is_required():
            assert text == "needed"
            continue
        assert value(usual) == to_jsonable_python(field.default), name
        kinds = {kind: kind_of(kind).training for kind in kind_names()} if model is Training else {}
        assert {each.split(": ")[0].strip("`"): value(each.split(": ")[1]) for each in others} == {
            kind: training[name] for kind, training in kinds.items() if name in training
        }


def test_what_all_kinds_share_is_shared() -> None:
    for name in kind_names():
        if name != "blockrank":
            assert issubclass(kind_of(name).Options, BiEncoderOptions)


def test_every_key_is_documented() -> None:
    first = TEXT.partition("\n## Options of a recipe\n")[2].partition("Each source")[0]
    rows = re.findall(r"^\| (`.*?`) \|", first, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(KEYS)


RECIPES = {
    **{path.name: path.read_text("utf-8") for path in (ROOT / "pipelines" / "train").glob("*.yaml")},
    **{
        f"docs {index}": text
        for index, text in enumerate(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
        if re.search(r"^kind: ", text, re.MULTILINE)
    },
}


def test_the_schema_of_recipes_takes_recipes_and_nothing_else() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert len(RECIPES) > 8
    for name, text in RECIPES.items():
        data = parse_yaml(text, name).data
        validator.validate(data)
        for key in ("validation", "training", "options", "negatives"):
            assert not validator.is_valid({**data, key: {**(data.get(key) or {}), "spelt_wrong": 1}}), name
        assert not validator.is_valid({**data, "kind": "nothing"})
        assert not validator.is_valid({**data, "variants": {"one": {"lr": 1}}})
        other = "blockrank" if data["kind"] != "blockrank" else "adapter"
        wrong = {**data, "kind": other, "options": {"rank": 4, "dim" if other == "blockrank" else "layer": 3}}
        assert not validator.is_valid(wrong)
    assert "patience" in schema_text() and "inverse-cloze" in schema_text()


def test_the_schema_has_each_kinds_own_defaults() -> None:
    for branch in recipe_schema()["allOf"]:
        kind = branch["if"]["properties"]["kind"]["const"]
        shown = {
            name: option.get("default")
            for name, option in branch["then"]["properties"]["training"]["properties"].items()
        }
        assert shown == {**Training().model_dump(mode="json"), **kind_of(kind).training}
