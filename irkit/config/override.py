"""``--set a.b.c=value``: change one value of an experiment from the command line, before it is validated."""

from __future__ import annotations

from typing import Any

from irkit.config.yaml import Located, parse_yaml
from irkit.core.errors import ConfigError, Place, nearest


def override(located: Located, setting: str) -> None:
    """Apply ``a.b.c=value`` in place.

    Keys go by name; list items by number or, in a list of steps, by the name of the stage, as in
    ``pipelines.hybrid.fuse.of.0.bm25.k=50``. The last key may be new; all others must exist.

    Raises:
        ConfigError: when there is no "=", the value is not YAML, or the path leads nowhere.
    """
    source = f"--set {setting}"
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise ConfigError.of(
            "expected KEY.KEY=VALUE", where=source, hint="for example: --set pipelines.bm25.bm25.k=50"
        )
    value = parse_yaml(text, source).data
    *keys, last = _split(name.strip(), located.data)
    here, path = located.data, Place()
    for key in keys:
        added, here = _descend(here, key, source)
        path += added
    if isinstance(here, list):
        at: str | int = _index(here, last, source)
    elif isinstance(here, dict):
        at = last
    else:
        raise ConfigError.of(
            f"{'.'.join(map(str, path)) or 'the file'} is {here!r} and has no keys", where=source
        )
    if isinstance(here, list) and not last.isdecimal():
        bare = isinstance(here[int(at)], str)
        if not bare or (path[:1] == ("pipelines",) and isinstance(value, dict)):
            value = {last: value}  # a step that goes by its stage's name: the value is its options
    here[at] = value
    place = (*path, at)
    for written in (
        located.lines,
        located.overrides,
    ):  # what stood below is gone: an error there is the override's
        for below in [each for each in written if each[: len(place)] == place]:
            del written[below]
    located.overrides[place] = source


def _split(name: str, data: Any) -> list[str]:
    """Split at dots; where a key itself holds dots (a pipeline's name, a collection's id), the longest key that exists wins."""
    parts, keys, here = name.split("."), [], data
    while parts:
        known = here if isinstance(here, dict) else {}
        take = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 1)
        keys.append(".".join(parts[:take]))
        parts, here = parts[take:], known.get(keys[-1])
    return keys


def _descend(here: Any, key: str, source: str) -> tuple[Place, Any]:
    if isinstance(here, dict):
        if key not in here:
            raise ConfigError.of(f"there is no key {key!r}", where=source, hint=nearest(key, list(here)))
        return (key,), here[key]
    if isinstance(here, list):
        index = _index(here, key, source)
        if isinstance(here[index], str):  # a step written as its name alone: give it options to set
            here[index] = {here[index]: {}}
        item = here[index]
        if key.isdecimal():
            return (index,), item
        if item[key] is None:  # a step whose name has a colon and no options
            item[key] = {}
        return (index, key), item[key]
    raise ConfigError.of(f"there is nothing below {here!r}", where=source)


def _index(items: list[Any], key: str, source: str) -> int:
    if key.isdecimal() and int(key) < len(items):
        return int(key)
    found = [i for i, item in enumerate(items) if item == key or (isinstance(item, dict) and key in item)]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} items are named {key!r}: use a number" if found else f"there is no item {key!r}"
    names = [next(iter(item), "") if isinstance(item, dict) else str(item) for item in items]
    hint = ", ".join(f"{number} is {name!r}" for number, name in enumerate(names)) or "the list is empty"
    raise ConfigError.of(problem, where=source, hint=hint)
