"""The keys ``averages`` and ``reference`` of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from irkit.config.choice import UnclearError, choose, macro_sets
from irkit.core.errors import IrkitError, Place, nearest
from irkit.data.published import published
from irkit.data.spec import LocalSpec

ALL = "all"

Averages = Mapping[str, Mapping[str, tuple[str, ...]]]
"""name -> member -> the collections whose mean the member is: one, or those of a macro set."""

References = Mapping[str, tuple[str, ...]]
"""pipeline -> names of published scores."""

_AVERAGES = "for example: averages: {public: [beir/scifact/test, beir/nfcorpus/test], everything: all}"
_REFERENCE = "for example: reference: {bm25: anserini-bm25-flat}"


Fail = Callable[..., None]
"""Notes a problem: called with a place of the file, a message, and a hint or none."""


def read_averages(value: Any, collections: Mapping[str, str | LocalSpec], fail: Fail) -> Averages:
    """Read ``averages``: names, and lists of collections or ``all``. A macro set counts as one collection."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        fail(("averages",), "'averages' maps names to lists of collections", _AVERAGES)
        return {}
    sets = macro_sets(collections)
    inside = {member: name for name, members in sets.items() for member in members}
    result = {}
    for name, asked in value.items():
        path: Place = ("averages", name)
        if asked == ALL:
            asked = list(dict.fromkeys(inside.get(each, each) for each in collections))  # noqa: PLW2901
        if not isinstance(asked, list) or not asked:
            fail(path, f"the average {name!r} is a list of collections, or: all", _AVERAGES)
            continue
        members: dict[str, tuple[str, ...]] = {}
        for index, item in enumerate(asked):
            try:
                member = choose(str(item), list(collections), sets)
            except UnclearError as unclear:
                fail((*path, index), str(unclear), unclear.hint)
                continue
            if member in members:
                fail((*path, index), f"{member!r} stands in the average {name!r} twice", "remove one")
            members[member] = tuple(sets.get(member, (member,)))
        for member in members:
            if inside.get(member) in members:
                message = f"{member!r} stands in the average {name!r} by itself and in {inside[member]!r}"
                fail(path, message, "keep one of them")
        result[name] = members
    return result


def read_references(value: Any, pipelines: Sequence[str], base: Path | None, fail: Fail) -> References:
    """Read ``reference``: pipelines, and the published scores that each is compared with.

    A workspace may have published scores of its own, so without its folder ``base`` their names are taken as they are.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        fail(("reference",), "'reference' maps pipelines to names of published scores", _REFERENCE)
        return {}
    try:
        known = list(published(base))
    except IrkitError as error:
        for problem in error.problems:
            fail(("reference",), f"{problem.where}: {problem.message}", problem.hint)
        return {}
    result = {}
    for pipeline, asked in value.items():
        path: Place = ("reference", pipeline)
        if pipeline not in pipelines:
            fail(path, f"there is no pipeline {pipeline!r}", nearest(pipeline, pipelines))
        names = asked if isinstance(asked, list) else [asked]
        for name in names:
            if base is not None and name not in known:
                fail(path, f"there are no published scores {name!r}", nearest(str(name), known))
        result[pipeline] = tuple(dict.fromkeys(map(str, names)))
    return result


def averages_to_data(averages: Averages) -> dict[str, Any]:
    """Return averages as YAML has them."""
    return {name: list(members) for name, members in averages.items()}


def references_to_data(references: References) -> dict[str, Any]:
    """Return references as YAML has them."""
    return {p: names[0] if len(names) == 1 else list(names) for p, names in references.items()}
