"""The command line."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


class Interrupted(SystemExit):
    """The exit after Ctrl-C, when it has been said what is left."""


def interrupted(left: str = "what was finished is kept, the same command goes on from there") -> NoReturn:
    """Say what Ctrl-C has left, and exit."""
    sys.stderr.write(f"\ninterrupted; {left}\n")
    raise Interrupted(INTERRUPTED)
