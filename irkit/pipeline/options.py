"""What is wrong with the options of a stage or a collection, in words a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, to_jsonable_python

from irkit.core.errors import nearest
from irkit.core.flow import flow

Fields = Mapping[str, FieldInfo]

_SCHEMA = "irkit schema lists the options and what they may be; irkit schema --recipe those of a recipe"


class OptionError(ValueError):
    """What the validators of a stage may raise where they know the remedy: an error of pydantic's, with a hint.

    Args:
        message: what is wrong; pydantic says which option it is, where there is one.
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Fault(NamedTuple):
    """One option that cannot be used: where it stands, what is wrong, and the remedy."""

    place: tuple[str | int, ...]
    message: str
    hint: str | None


class _Spot(NamedTuple):
    """Where an error stands.

    Attributes:
        place: the keys and list positions that lead there, as they are written.
        field: the option, None for all of them together.
        model: what the option's mapping is read as, None where it is no mapping of options.
        default: of the option; that of an option inside a mapping is the one of the mapping's own default.
    """

    place: tuple[str | int, ...] = ()
    field: FieldInfo | None = None
    model: type[BaseModel] | None = None
    default: Any = None


def option_faults(error: ValidationError, fields: Fields) -> list[Fault]:
    """Read pydantic's errors; an unknown option comes with the nearest known one, a wrong value with the default.

    Args:
        error: what validation raised.
        fields: of the class that was to be made; those of the mappings inside are found through their types.
    """
    return [_fault(each, fields) for each in error.errors(include_url=False)]


def defaults(stage: type[BaseModel]) -> dict[str, Any]:
    """Return the options that may be left out, with their defaults as JSON values."""
    return {
        name: to_jsonable_python(_default(field))
        for name, field in stage.model_fields.items()
        if not field.is_required()
    }


def changed(options: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options, as JSON values, that differ from ``usual``; one inside a mapping by its path, ``tokens.dim``."""
    for name, value in options.items():
        if name in usual and value == usual[name]:
            continue
        default = usual.get(name)
        if isinstance(value, dict) and isinstance(default, dict) and value.keys() == default.keys():
            yield from ((f"{name}.{inner}", each) for inner, each in changed(value, default))
        else:
            yield name, value


def _fault(error: ErrorDetails, fields: Fields) -> Fault:
    loc, value = error["loc"], error["input"]
    if error["type"] == "extra_forbidden":
        return _unknown(str(loc[-1]), value, _walk(loc[:-1], fields), fields)
    spot = _walk(loc, fields)
    if not spot.place:
        return Fault((), _words(error), _own_hint(error) or _SCHEMA)
    option = ".".join(str(part) for part in spot.place)
    given = "" if error["type"] == "missing" else f", not {value!r:.100}"
    if spot.model and error["type"] in ("value_error", "assertion_error"):
        # options that do not go together: the mapping's own check says all there is to say
        return Fault(spot.place, f"{option}: {_words(error)}", _own_hint(error) or _SCHEMA)
    if spot.model and error["type"] == "model_type":
        message = f"{option}: Input should be a mapping such as {_example(spot.model, value)}{given}"
    else:
        message = f"{option}: {_words(error)}{given}"
    return Fault(spot.place, message, _own_hint(error) or _near_word(error) or _remedy(spot))


def _near_word(error: ErrorDetails) -> str | None:
    """Return the word that a mistyped one of a fixed choice is near to, as a question."""
    if error["type"] not in ("literal_error", "enum") or not isinstance(error["input"], str):
        return None
    near = nearest(error["input"], re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected"))))
    return near if near.startswith("did") else None


def _own_hint(error: ErrorDetails) -> str | None:
    raised = error.get("ctx", {}).get("error")
    return raised.hint if isinstance(raised, OptionError) else None


def _words(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _walk(loc: Sequence[str | int], fields: Fields) -> _Spot:
    """Follow an error's path through the options; pydantic puts names of its own between theirs: of union members, say."""
    spot, inside = _Spot(), fields
    for part in loc:
        if isinstance(part, str) and part in inside:
            field = inside[part]
            default = getattr(spot.default, part, None) if spot.field else _default(field)
            spot = _Spot((*spot.place, part), field, _model(field.annotation), default)
            inside = spot.model.model_fields if spot.model else {}
        elif isinstance(part, int) or len(loc) == 1:
            spot = spot._replace(place=(*spot.place, part))
    return spot


def _unknown(name: str, value: Any, spot: _Spot, fields: Fields) -> Fault:
    place = (*spot.place, name)
    if spot.model:
        mapping = ".".join(str(part) for part in spot.place)
        message = f"{mapping}: unknown option {name!r}"
        if name in fields:
            return Fault(
                place, message, f"it stands beside {mapping}, not in it: {flow({name: value})[1:-1]}"
            )
        return Fault(place, message, nearest(name, list(spot.model.model_fields)))
    models = {option: _model(field.annotation) for option, field in fields.items()}
    holders = [option for option, model in models.items() if model and name in model.model_fields]
    if holders:
        hint = f"that is an option of {' and of '.join(holders)}: {holders[0]}: {flow({name: value})}"
    else:
        hint = nearest(name, list(fields))
    return Fault(place, f"unknown option {name!r}", hint)


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the class of the mapping that an option of this type is, or holds."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((model for each in get_args(annotation) if (model := _model(each))), None)


def _example(model: type[BaseModel], value: Any) -> str:
    """Return a mapping to write instead of a bare value: with that value, where an option takes it."""
    if value is not None:
        for name in model.model_fields:
            try:
                model.model_validate({name: value}, strict=True)
            except ValidationError:
                continue
            return flow({name: value})
    defaults = {name: _default(field) for name, field in model.model_fields.items()}
    known = [{name: default} for name, default in defaults.items() if default is not None]
    return flow(to_jsonable_python(known[0])) if known else "{...}"


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})


def _remedy(spot: _Spot) -> str:
    if spot.field is None or spot.field.is_required():
        return (spot.field.description if spot.field else None) or _SCHEMA
    return f"leave it out for the default, {flow(to_jsonable_python(spot.default))}"
