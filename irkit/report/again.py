"""The command that makes one row of a leaderboard again, from the command of the whole."""

from __future__ import annotations

import shlex

_TAKES_VALUE = ("--only", "--pipeline", "-p")
_ALONE = ("--check",)


def command_of(command: str, pipeline: str) -> str | None:
    """Return the command that runs one pipeline of an experiment on all its collections; None where none is known.

    Of ``irkit run`` the choice of collections and pipelines is replaced, and the other options stay. ``irkit compare`` evaluates
    all its run files at once: the command is the same for each row.
    """
    try:
        words = shlex.split(command)
    except ValueError:  # a command that was cut, or no shell's
        return None
    start = 3 if words[:3] == ["python", "-m", "irkit"] else 1 if words[:1] == ["irkit"] else len(words)
    match words[start : start + 1]:
        case ["run"]:
            return shlex.join([*_without_choice(words), "--pipeline", pipeline])
        case ["compare"]:
            return command
    return None


def _without_choice(words: list[str]) -> list[str]:
    left, rest = [], iter(words)
    for word in rest:
        if word in _TAKES_VALUE:
            next(rest, None)
        elif word not in _ALONE and not word.startswith(tuple(f"{name}=" for name in _TAKES_VALUE)):
            left.append(word)
    return left
