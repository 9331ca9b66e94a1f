"""``irkit`` and ``python -m irkit``: the command line, which Ctrl-C ends without a traceback also while it is still loading."""

from __future__ import annotations

from typing import Any

from irkit.cli import interrupted


def main() -> Any:
    """Load the command line and run it."""
    try:
        from irkit.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        interrupted()


if __name__ == "__main__":
    main()
