"""What commands and functions do where nothing else is said: one place for both."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LEADERBOARD: Final = Path("eval/leaderboard")
"""Where a leaderboard and its history are written."""
TIMED_QUERIES: Final = 100
"""How many queries of a collection a measurement times."""
WARMUP_QUERIES: Final = 10
"""How many others go before, and are not counted."""
