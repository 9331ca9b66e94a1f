"""The JSON Schema of experiment files, with every installed stage: editors complete and check YAML with it."""

from __future__ import annotations

import json
from typing import Any

from irkit.config.averages import ALL
from irkit.config.experiment import NAME
from irkit.config.report import ReportOptions
from irkit.config.statistics import Statistics
from irkit.config.steps import OF
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import stage_class, stage_names

_DEFS = "#/$defs/"


def experiment_schema(*, own: bool = False) -> dict[str, Any]:
    """Return the schema (draft 2020-12) as plain data; ``own`` leaves out the stages of plug-ins."""
    names = stage_names(own=own)
    definitions: dict[str, Any] = {}
    steps: list[dict[str, Any]] = [{"enum": names, "description": "A stage with its default options."}]
    for name in names:
        cls = stage_class(name)
        options = inline(cls.model_json_schema(mode="validation"), definitions)
        options.pop("title", None)
        options["description"] = (cls.__doc__ or name).strip().split("\n\n")[0]
        if cls.needs == "many":
            branches = {
                "type": "array",
                "minItems": 2,
                "items": {"$ref": _DEFS + "pipeline"},
                "description": "The pipelines to fuse.",
            }
            options["properties"] = {OF: branches, **options.get("properties", {})}
            options["required"] = [OF, *options.get("required", [])]
        definitions[f"stage-{name}"] = options
        value = {"anyOf": [{"$ref": _DEFS + f"stage-{name}"}, {"type": "null"}]}
        steps.append(
            {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}
        )
    definitions["step"] = {"anyOf": steps}
    step = {"$ref": _DEFS + "step"}
    definitions["pipeline"] = {
        "anyOf": [{"type": "array", "items": step}, step],
        "description": "Stages, one after the other.",
    }
    local = inline(LocalSpec.model_json_schema(), definitions)
    scores = {"type": "object", "additionalProperties": {"type": "object"}}
    properties = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "description": "Names the folder of the results.",
        },
        "description": {"type": "string"},
        "collections": {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [{"type": "string", "description": "An ir-datasets id or an irkit id."}, local]
            },
        },
        "averages": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"const": ALL}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]
            },
            "description": "Named means: a list of collections, by short names too, or all. A macro set counts once.",
        },
        "metrics": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "examples": ["ndcg@10", "recall@100", "mrr@10", "map"]},
        },
        "pipelines": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"$ref": _DEFS + "pipeline"},
        },
        "baseline": {"type": "string", "description": "The pipeline that the others are compared with."},
        "reference": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]
            },
            "description": "Pipelines, and the published scores to compare each with: irkit reference list.",
        },
        "expected": {
            **scores,
            "description": "Scores to reproduce: pipeline (or collection, then pipeline), metric, value.",
        },
        "tolerance": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0005},
        "statistics": inline(Statistics.model_json_schema(), definitions),
        "report": inline(ReportOptions.model_json_schema(), definitions),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "irkit experiment",
        "type": "object",
        "properties": properties,
        "required": ["name", "collections", "metrics", "pipelines"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def schema_text(*, own: bool = False) -> str:
    """Return the schema as JSON text."""
    return json.dumps(experiment_schema(own=own), indent=2) + "\n"


def inline(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Move a model's own definitions beside the others; pydantic names them by class, so equal names are equal classes."""
    definitions.update(schema.pop("$defs", {}))
    return schema
