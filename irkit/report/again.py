"""Commands that make results again, whole or one row of them, from the command of a run."""

from __future__ import annotations

import shlex

_TAKES_VALUE = ("--only", "--pipeline", "-p")
_WITH_VALUE = ("--only=", "--pipeline=", "-p")
"""As one word; of a short option the value follows at once: ``-pold``."""
_ALONE = ("--check",)


def command_of(command: str, pipeline: str) -> str | None:
    """Return the command that runs one pipeline of an experiment on all its collections; None where none is known.

    Of ``irkit run`` the choice of collections and pipelines is replaced, and the other options stay. ``irkit compare`` evaluates
    all its run files at once: the command is the same for each row.
    """
    match _read(command):
        case "run", words:
            return shlex.join([*_without_choice(words), "--pipeline", pipeline])
        case "compare", _:
            return command
    return None


def whole_command(command: str) -> str | None:
    """Return the command of ``irkit run`` without a choice of collections and pipelines; None where none is known."""
    match _read(command):
        case "run", words:
            return shlex.join(_without_choice(words))
    return None


def _read(command: str) -> tuple[str, list[str]]:
    """Return the subcommand of irkit, empty where there is none, and the words."""
    try:
        words = shlex.split(command)
    except ValueError:  # a command that was cut, or no shell's
        return "", []
    start = 3 if words[:3] == ["python", "-m", "irkit"] else 1 if words[:1] == ["irkit"] else len(words)
    return next(iter(words[start:]), ""), words


def _without_choice(words: list[str]) -> list[str]:
    left, rest = [], iter(words)
    for word in rest:
        if word in _TAKES_VALUE:
            next(rest, None)
        elif word not in _ALONE and not word.startswith(_WITH_VALUE):
            left.append(word)
    return left
