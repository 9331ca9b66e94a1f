"""What is wrong with the options of a stage or a collection, in words a person can act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from irkit.core.errors import nearest


class Fault(NamedTuple):
    """One option that cannot be used: where it stands, what is wrong, and the remedy."""

    place: tuple[str | int, ...]
    message: str
    hint: str | None


def option_faults(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[Fault]:
    """Read pydantic's errors; an unknown option comes with the nearest known one, a wrong value with the default."""
    faults, names = [], list(fields)
    for each in error.errors(include_url=False):
        # pydantic puts names of its own between those of the options: of union members, say
        place = tuple(
            part
            for part in each["loc"]
            if not isinstance(part, str) or part in names or len(each["loc"]) == 1
        )
        if each["type"] == "extra_forbidden":
            unknown = str(each["loc"][-1])
            faults.append(Fault(place, f"unknown option {unknown!r}", nearest(unknown, names)))
            continue
        option = ".".join(str(part) for part in place)
        given = "" if each["type"] == "missing" else f", not {each['input']!r:.100}"
        message = each["msg"].removeprefix("Value error, ")
        hint = (
            _remedy(fields.get(str(place[0])))
            if place
            else "irkit schema lists the options and what they may be"
        )
        faults.append(Fault(place, f"{option}: {message}{given}" if option else message, hint))
    return faults


def _remedy(field: FieldInfo | None) -> str:
    if field is None or field.is_required():
        about = field.description if field else None
        return about or "irkit schema lists the options and what they may be"
    default = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
    return f"leave it out for the default, {json.dumps(default)}"
