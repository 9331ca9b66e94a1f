"""Where numba keeps what it compiles: ranx and irkit's own loops are compiled once for a machine, not once for a process.

What irkit compiles is marked by :mod:`irkit.core.jit`, which sees to it that what is kept is not used after its sources changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_COMPILED = ("ranx/metrics", "irkit/stages/multivector")


def prepare_cache() -> Path | None:
    """Give numba a writable cache when a folder with compiled code is read-only; call before such code is imported.

    numba keeps compiled code beside the sources. Where it cannot, it looks for a cache of the user, and fails
    when there is no writable home either (a container, a service). The last choice is a folder that only this
    process knows: numba loads what it finds in its cache, so a folder with a name that others can guess, in a
    place where they can write, would not do.

    Returns:
        the folder that was chosen, None when the user has set ``NUMBA_CACHE_DIR`` or the default serves.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return None
    if all(_writable(folder) for folder in _sources()):
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irkit" / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="irkit-numba-"))
    else:
        if not _writable(folder):
            folder = Path(tempfile.mkdtemp(prefix="irkit-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # numba has read the environment already
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return folder


def _sources() -> Iterator[Path]:
    for name in _COMPILED:
        package, _, inside = name.partition("/")
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(folder) / inside


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
