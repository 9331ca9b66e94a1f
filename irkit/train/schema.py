"""The JSON Schema of recipes: every kind with its options, and with the defaults that it has for the schedule."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from irkit.config.experiment import NAME
from irkit.config.schema import experiment_schema, inline
from irkit.train.kinds import kind_names, kind_of
from irkit.train.recipe import Training, Validation
from irkit.train.sources.options import DataSource, Negatives

_DEFS = "#/$defs/"
_PIPELINE = {"$ref": _DEFS + "pipeline"}


def recipe_schema(*, own: bool = False) -> dict[str, Any]:
    """Return the schema (draft 2020-12) as plain data; ``own`` leaves out the stages of plug-ins."""
    definitions: dict[str, Any] = experiment_schema(own=own)["$defs"]

    def options(model: type[BaseModel]) -> dict[str, Any]:
        return inline(model.model_json_schema(mode="validation"), definitions)

    negatives = options(Negatives)
    negatives["properties"] = {"pipeline": _PIPELINE, **negatives["properties"]}
    properties: dict[str, Any] = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": "Of the folder in models/.",
        },
        "description": {"type": "string"},
        "kind": {"enum": kind_names()},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "data": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "string"}, options(DataSource)]},
        },
        "negatives": {**negatives, "required": ["pipeline"]},
        "teacher": _mapping({"pipeline": _PIPELINE}, required=["pipeline"]),
        "validation": options(Validation),
        "training": {"type": "object"},
        "options": {"type": "object"},
        "variants": {"type": "object"},
        "licence": {"type": "string", "default": "unknown"},
    }
    kinds = []
    for name in kind_names():
        kind, training = kind_of(name), options(Training)
        for option, usual in kind.training.items():
            training["properties"][option]["default"] = usual
        varied = {"training": training, "options": options(kind.Options), "seed": properties["seed"]}
        variants = {"type": "object", "additionalProperties": _mapping(varied)}
        then = {"training": varied["training"], "options": varied["options"], "variants": variants}
        kinds.append({"if": {"properties": {"kind": {"const": name}}}, "then": {"properties": then}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "irkit recipe",
        **_mapping(properties, required=["name", "kind", "data"]),
        "allOf": kinds,
        "$defs": definitions,
    }


def schema_text(*, own: bool = False) -> str:
    """Return the schema as JSON text."""
    return json.dumps(recipe_schema(own=own), indent=2) + "\n"


def _mapping(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made
