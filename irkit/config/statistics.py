"""How pipelines are tested against each other: the experiment's key ``statistics``."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from irkit.config.steps import validation_problems
from irkit.config.yaml import Located
from irkit.core.errors import Place, Problem

Test = Literal["t", "wilcoxon", "randomisation", "tukey", "randomised-tukey"]
Correction = Literal["holm", "bonferroni", "none"]

PLACE: Final[Place] = ("statistics",)
_EXAMPLE = "for example: statistics: {test: randomisation, pairs: all}"
_OWN_CORRECTION = ("tukey", "randomised-tukey")


class Statistics(BaseModel):
    """How differences between pipelines are tested. The tests are made when a report is, from the values per query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test: Test = Field(
        "t",
        description="t: the paired t-test. wilcoxon: of signed ranks. randomisation: Fisher's, of signs. tukey: honestly "
        "significant differences of a two-way analysis of variance, queries by pipelines. randomised-tukey: the same idea "
        "by shuffling the pipelines of each query, which assumes no distribution.",
    )
    correction: Correction | None = Field(
        None,
        description="Of the p-values, for the number of tests of one collection and metric: holm unless another is named. "
        "Tukey's tests correct by themselves, and take none.",
    )
    pairs: Literal["baseline", "all"] = Field(
        "baseline",
        description="Test every pipeline against the baseline, or all pipelines against each other.",
    )
    alpha: float = Field(0.05, gt=0, lt=1, description="Corrected p-values below it are marked.")
    level: float = Field(0.95, gt=0, lt=1, description="Of the bootstrap intervals of the mean differences.")
    resamples: int = Field(
        10_000,
        ge=100,
        le=10_000_000,
        description="How often the bootstrap and the randomisation tests draw.",
    )
    seed: int = Field(0, ge=0, description="Of the draws.")

    @model_validator(mode="after")
    def _tukey_corrects_itself(self) -> Self:
        if self.test in _OWN_CORRECTION and self.correction not in (None, "none"):
            raise ValueError(f"the test {self.test!r} corrects by itself: leave out 'correction'")
        return self

    @property
    def corrected(self) -> Correction:
        """The correction that is made after the test."""
        if self.test in _OWN_CORRECTION:
            return "none"
        return self.correction or "holm"


def read_statistics(located: Located, value: Any, problems: list[Problem]) -> Statistics:
    """Read the key; what is wrong is added to ``problems``, and the defaults come back."""
    if value is None:
        return Statistics()
    if not isinstance(value, dict):
        problems.append(located.problem(PLACE, f"'statistics' is a mapping, not {value!r}", _EXAMPLE))
        return Statistics()
    try:
        return Statistics(**value)
    except ValidationError as error:
        problems += validation_problems(located, PLACE, error, Statistics.model_fields)
    except TypeError as error:  # a key that is no text
        problems.append(located.problem(PLACE, str(error), _EXAMPLE))
    return Statistics()


def statistics_to_data(statistics: Statistics) -> dict[str, Any]:
    """Return what differs from the defaults, as YAML has it."""
    return statistics.model_dump(mode="json", exclude_defaults=True)
