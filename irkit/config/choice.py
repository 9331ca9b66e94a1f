"""Collections by short names: ``scifact`` for ``beir/scifact/test``, ``cqadupstack`` for all of its forums."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from irkit.core.errors import nearest
from irkit.data.policies import policy_of
from irkit.data.spec import LocalSpec

_SHOWN = 6


class UnclearError(Exception):
    """A name that stands for no collection, or for several; ``hint`` says which there are."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def macro_sets(collections: Mapping[str, str | LocalSpec]) -> dict[str, tuple[str, ...]]:
    """Return the sets that count as one collection, and the experiment's collections in each."""
    sets: dict[str, list[str]] = {}
    for name, spec in collections.items():
        policy = policy_of(spec) if isinstance(spec, str) else spec.policy
        if policy.macro:
            sets.setdefault(policy.macro, []).append(name)
    return {name: tuple(members) for name, members in sets.items()}


def choose(asked: str, names: Sequence[str], sets: Mapping[str, Sequence[str]]) -> str:
    """Return the collection or macro set that a name, whole or short, stands for.

    A whole name goes first, then whole parts of one (``scifact``, ``nq``, ``n=46``: what stands between ``/``, ``?`` and ``&``),
    then any piece of one. Where everything that fits belongs to one macro set, that set is meant.

    Raises:
        UnclearError: when nothing fits, or several do.
    """
    whole = [*sets, *names]
    if asked in whole:
        return asked
    word = asked.lower()
    fitting = [name for name in names if word == name.lower()]
    fitting = fitting or [name for name in names if _has_part(name.lower(), word)]
    fitting = fitting or ([name for name in names if word in name.lower()] if word else [])
    if len(fitting) == 1:
        return fitting[0]
    for name, members in sets.items():
        if fitting and set(fitting) <= set(members) and _has_part(name.lower(), word):
            return name
    if not fitting:
        raise UnclearError(f"the experiment has no collection {asked!r}", _near(asked, whole))
    shown = ", ".join(fitting[:_SHOWN]) + (", ..." if len(fitting) > _SHOWN else "")
    raise UnclearError(f"{asked!r} may be any of {len(fitting)} collections", f"name one: {shown}")


def _near(asked: str, whole: Sequence[str]) -> str:
    parts = dict.fromkeys(part for name in whole for part in re.split("[/?&]", name))
    near = nearest(asked, [*whole, *parts])
    return near if near.startswith("did") else nearest(asked, whole)


def _has_part(name: str, asked: str) -> bool:
    parts, wanted = (re.split("[/?&]", text) for text in (name, asked))
    width = len(wanted)
    return any(parts[start : start + width] == wanted for start in range(len(parts) - width + 1))
