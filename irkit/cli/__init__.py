"""The command line."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


def interrupted() -> NoReturn:
    """Say what Ctrl-C has left, and exit."""
    sys.stderr.write("\ninterrupted; what was finished is kept, the same command goes on from there\n")
    sys.exit(INTERRUPTED)
