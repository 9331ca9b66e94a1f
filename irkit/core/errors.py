"""Errors a person can act on: what is wrong, where, and what to do about it.

The CLI prints an :class:`IrkitError` on one screen and exits with status 2; any other exception is a bug in irkit and keeps its
traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

Place = tuple[str | int, ...]
"""Where something stands in nested data, keys and list positions from the top: ``("pipelines", "mine", 1, "fuse", "of", 0)``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``where`` (``file:line``, an id, a key), ``message``, and a ``hint`` that says what to do."""

    message: str
    where: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n    {self.hint}" if self.hint else text


class IrkitError(Exception):
    """The base of every error that irkit raises on purpose. Holds one or more :class:`Problem`."""

    def __init__(self, *problems: Problem) -> None:
        self.problems: tuple[Problem, ...] = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def of(cls, message: str, *, where: str | None = None, hint: str | None = None) -> Self:
        """Make an error of one problem."""
        return cls(Problem(message, where, hint))


class ConfigError(IrkitError):
    """An experiment file, a stage's options or a command-line override cannot be used as written."""


class DataError(IrkitError):
    """A collection, a run file or judgements cannot be used: the problem names the file and line, or the id."""


class ModelError(IrkitError):
    """A model cannot be found or loaded, or cannot do what a stage asks of it."""


class StageError(IrkitError):
    """A stage returned what no stage may return: a score that is not a number, a document that does not exist."""


class StoreError(IrkitError):
    """The store cannot be read or written: damaged artifact, read-only folder, full disk."""


class ReportError(IrkitError):
    """The results of an experiment cannot be written or read."""


class DependencyError(IrkitError):
    """A package or program that the work needs is missing; the hint is the command that installs it."""


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a phrase for an error text: the nearest of ``names``, or all of them when none is near."""
    same = [each for each in names if each.lower() == name.lower()]
    close = same[:1] or get_close_matches(name, names, n=1, cutoff=0.6)
    held = [each for each in names if len(name) > 2 and name.lower() in each.lower()]
    if not close and len(held) == 1:
        close = held
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of: {', '.join(sorted(names))}" if names else "there is none to choose from"
