"""How much of a run its report shows of single queries: the experiment's key ``report``."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from irkit.config.steps import validation_problems
from irkit.config.yaml import Located
from irkit.core.errors import Place, Problem

PLACE: Final[Place] = ("report",)
_EXAMPLE = "for example: report: {queries: 100, characters: 500}"


class ReportOptions(BaseModel):
    """What a run keeps of single queries for those who look into it. No score depends on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    queries: int = Field(
        60,
        ge=0,
        le=100_000,
        description="Of each collection, the queries that are kept with their documents: those that stages explained or changed, "
        "those that pipelines won and lost most, and the worst. 0 keeps none.",
    )
    hits: int = Field(
        10, ge=1, le=1000, description="Documents that are kept of each query and pipeline, from the top."
    )
    characters: int = Field(
        300, ge=0, le=100_000, description="Of the text of each document that is kept. 0 keeps no text."
    )
    bytes: int = Field(
        2_000_000,
        ge=0,
        le=1_000_000_000,
        description="Of all that is kept, compressed; where it would be more, fewer queries of each collection are kept.",
    )


def read_report(located: Located, value: Any, problems: list[Problem]) -> ReportOptions:
    """Read the key; what is wrong is added to ``problems``, and the defaults come back."""
    if value is None:
        return ReportOptions()
    if not isinstance(value, dict):
        problems.append(located.problem(PLACE, f"'report' is a mapping, not {value!r}", _EXAMPLE))
        return ReportOptions()
    try:
        return ReportOptions(**value)
    except ValidationError as error:
        problems += validation_problems(located, PLACE, error, ReportOptions.model_fields)
    except TypeError as error:  # a key that is no text
        problems.append(located.problem(PLACE, str(error), _EXAMPLE))
    return ReportOptions()


def report_to_data(report: ReportOptions) -> dict[str, Any]:
    """Return what differs from the defaults, as YAML has it."""
    return report.model_dump(mode="json", exclude_defaults=True)
