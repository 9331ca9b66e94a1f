"""Published scores to compare with: JSON files with their source, of the package and of the workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from irkit.core.errors import ConfigError, DataError
from irkit.core.metric import parse_metric

SHIPPED = Path(__file__).parent / "reference"
OWN = Path("eval") / "reference"
"""Where a workspace keeps published scores of its own; a file there goes before a shipped one of the same name."""

NEAR = 0.01
"""How far a score may be from the published one and still be near it: other builds of Lucene, other encodings of the same model."""

Verdict = Literal["match", "near", "off"]
_SLACK = 1e-12
"""For the last digits of a difference."""


class Compared(NamedTuple):
    """How a score compares with a published one.

    Attributes:
        status: the verdict.
        reason: why it is a match although it does not round to the published score, to be read after "match, "; else None.
    """

    status: Verdict
    reason: str | None = None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Origin(_Part):
    """Where the scores were published."""

    url: str = Field(min_length=1)
    citation: str = Field(min_length=1)
    version: str = Field(min_length=1)
    date: str = Field(min_length=1)


class Tolerance(_Part):
    """By how much a faithful reproduction may differ on one collection.

    Attributes:
        reason: what it is for, to be read after "match, but for": ``ties``.
    """

    tolerance: float = Field(gt=0, lt=NEAR)
    reason: str = Field(min_length=1)


Tolerances = Annotated[
    Annotated[float, Field(ge=0, lt=NEAR), Tag("number")]
    | Annotated[Mapping[str, Tolerance], Tag("by collection")],
    Discriminator(lambda value: "by collection" if isinstance(value, Mapping) else "number"),
]
"""One for every collection, or one for each that is named; of an average there is none."""


class Published(_Part):
    """The scores of one system, as published.

    Attributes:
        decimals: of the published numbers, on the scale from 0 to 1: the fourth of 0.6789, the third of 67.9 %.
        tolerance: by how much a faithful reproduction may differ on a collection or a macro set; an average has none.
        scores: collection -> metric -> value; a macro set (``beir/cqadupstack``) stands beside collections.
        averages: name of an average, as experiments name it -> metric -> value.
    """

    name: str = Field(min_length=1)
    title: str = Field(min_length=1)
    source: Origin
    decimals: int = Field(ge=1, le=9)
    tolerance: Tolerances = 0.0
    notes: str = ""
    scores: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    averages: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Published:
        for table in (self.scores, self.averages):
            for name, values in table.items():
                for metric, value in values.items():
                    if str(parse_metric(metric)) != metric:
                        raise ValueError(f"{name}: write {metric!r} as {str(parse_metric(metric))!r}")
                    if not 0 <= value <= 1:
                        raise ValueError(f"{name}: {metric} is {value}, not from 0 to 1")
        for name in self.tolerance if isinstance(self.tolerance, Mapping) else ():
            if name not in self.scores:
                raise ValueError(f"tolerance: there are no scores of {name!r}; averages have no tolerance")
        return self

    def compare(
        self, value: float, published: float, collection: str | None = None, tolerance: float = 0.0
    ) -> Compared:
        """Compare a score with a published one.

        It matches when it rounds to the published number, or differs by at most the tolerance documented for ``collection`` or
        by ``tolerance``; it is near when it differs by at most ``NEAR``; else it is off.

        Args:
            value: the score.
            published: the published one.
            collection: the collection or macro set that both are of; None for an average.
            tolerance: the experiment's.
        """
        distance = abs(value - published) - _SLACK
        if distance <= 0.5 * 10.0**-self.decimals:
            return Compared("match")
        if collection is not None:
            own = self.tolerance.get(collection) if isinstance(self.tolerance, Mapping) else self.tolerance
            if isinstance(own, Tolerance) and distance <= own.tolerance:
                return Compared("match", f"but for {own.reason}")
            if isinstance(own, float) and distance <= own:
                return Compared("match", f"within the documented tolerance of {own:g}")
        if distance <= tolerance:
            return Compared("match", f"within the experiment's tolerance of {tolerance:g}")
        return Compared("near" if distance <= NEAR else "off")


def published(base: Path | None = None) -> dict[str, Published]:
    """Return all published scores by name: the package's, then those below ``eval/reference`` of a workspace.

    Raises:
        DataError: for a file of the workspace that cannot be read.
    """
    found = dict(_shipped())
    for path in sorted((base / OWN).glob("*.json")) if base else ():
        each = read_published(path)
        found[each.name] = each
    return found


def read_published(path: Path) -> Published:
    """Read one file.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return Published.model_validate(data)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise DataError.of(message, where=str(path), hint="check its permissions") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the scores"
        raise DataError.of(f"{place}: {first['msg']}", where=str(path), hint=_FORM) from error
    except (ValueError, ConfigError) as error:
        raise DataError.of(f"not published scores: {error}", where=str(path), hint=_FORM) from error


_FORM = (
    "a file of published scores has name, title, source {url, citation, version, date}, decimals, and scores: "
    '{"beir/scifact/test": {"ndcg@10": 0.6789}}; and, where a score may differ for a reason, tolerance: '
    '{"beir/scifact/test": {"tolerance": 0.001, "reason": "ties"}}; docs/benchmarks.md has an example'
)


@cache
def _shipped() -> Mapping[str, Published]:
    each = [read_published(path) for path in sorted(SHIPPED.glob("*.json"))]
    return {one.name: one for one in each}
