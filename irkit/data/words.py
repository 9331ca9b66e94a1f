"""The words of the synthetic collection, from ``words.txt``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def words() -> Mapping[str, tuple[str, ...]]:
    """Return the word lists by section: nouns, adjectives, things, first names, last names.

    No two words of the file share a Porter or English Snowball stem, so that a noun matches itself alone.
    """
    sections = dict[str, list[str]]()
    for line in files("irkit.data").joinpath("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            sections[next(reversed(sections))] += line.split()
    return {name: tuple(listed) for name, listed in sections.items()}
