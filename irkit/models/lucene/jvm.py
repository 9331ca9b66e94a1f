"""The Java machine in this process: started once, and used by one thread of ours at a time."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from irkit.core.errors import ConfigError, DependencyError, StoreError
from irkit.models.lucene.java import anserini_jar, java_info

_LEAST_HEAP = 64 << 20
_BROKEN_FILES = (
    "java.io.",
    "java.nio.",
    "org.apache.lucene.index.Corrupt",
    "org.apache.lucene.index.IndexFormat",
)
_starting, _working = threading.Lock(), threading.RLock()
_kept: list[Any] = []  # Java forgets a logger, and what it was told, when nobody holds it


@contextmanager
def using_java(where: str) -> Iterator[None]:
    """Work with Java objects. Every use of them is inside one of these.

    pyjnius is not made for threads: a method belongs to the Python class, and remembers the object on which it was last
    looked up. So one thread at a time works with Java; what is worth several threads goes through :func:`spread`.

    Args:
        where: the folder that errors are about.

    Raises:
        OSError: when the disk is full.
        StoreError: for Java's other failures to read or write.
        DependencyError: when Java runs out of memory, and as in :func:`java_class`.
    """
    with _working:
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
            if kind.startswith(_BROKEN_FILES):
                hint = "check the disk and its permissions; irkit store verify finds damaged indexes"
                raise StoreError.of(
                    f"Lucene cannot read or write the index: {message}", where=where, hint=hint
                ) from error
            raise


def java_class(name: str) -> Any:
    """Return a Java class; the first call starts the JVM.

    Raises:
        DependencyError: when Java or pyserini is missing, or the JVM cannot start.
        ConfigError: when IRKIT_JAVA_HEAP is not a size that this machine has.
    """
    return _bridge().autoclass(name, include_protected=False, include_private=False)


def java_list(items: Iterable[Any]) -> Any:
    """Return a java.util.ArrayList of Java objects."""
    result = java_class("java.util.ArrayList")()
    for item in items:
        result.add(item)
    return result


def spread(function: Any, items: Sequence[Any], threads: int) -> list[bytes]:
    """Return the bytes of ``function(item)`` of every item, in order, computed by several threads.

    Python's lock is free while a thread is inside Java. All threads call the same method of the same object, and
    meanwhile nobody uses another: so pyjnius cannot confuse them.

    Args:
        function: a java.lang.invoke.MethodHandle with one parameter and a byte[] as its result.
        items: a string, or a java.util.List of the one argument.
        threads: how many threads; 1 is the caller's own.
    """
    jnius, call = _bridge(), function.invokeWithArguments
    results, stop = [b""] * len(items), threading.Event()
    threads = max(1, min(threads, len(items)))

    def work(first: int) -> None:
        for row in range(first, len(items), threads):
            if stop.is_set():
                return
            results[row] = call(items[row]).tostring()

    def attached(first: int) -> None:
        try:
            work(first)
        except BaseException:
            stop.set()
            raise
        finally:
            jnius.detach()  # or Java would count the thread for ever

    if threads == 1:
        work(0)
        return results
    with ThreadPoolExecutor(threads, thread_name_prefix="lucene") as pool:
        try:
            list(pool.map(attached, range(threads)))
        except BaseException:
            stop.set()  # before the pool waits for the others: the user may have interrupted
            raise
    return results


# -- inside ------------------------------------------------------------------------------------------


def _heap() -> str:
    """Return the size of Java's heap. What Java would refuse is refused here: Java would end the process."""
    size = os.environ.get("IRKIT_JAVA_HEAP", "2g")
    found = re.fullmatch(r"([1-9]\d*)([kmg])", size.lower())
    hint = "write it as 512m or 4g"
    if not found:
        raise ConfigError.of(f"{size!r} is not an amount of memory", where="IRKIT_JAVA_HEAP", hint=hint)
    wanted = int(found[1]) << {"k": 10, "m": 20, "g": 30}[found[2]]
    if wanted < _LEAST_HEAP:
        raise ConfigError.of(f"{size} is too little for Lucene", where="IRKIT_JAVA_HEAP", hint=hint)
    with suppress(ValueError, OSError, AttributeError):  # not every system tells
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if wanted > memory and "IRKIT_JAVA_HEAP" in os.environ:
            message = f"{size} is more than this machine's memory ({memory >> 20}m)"
            raise ConfigError.of(message, where="IRKIT_JAVA_HEAP", hint=hint)
    return size


def _bridge() -> Any:
    """Return the module jnius: importing it starts the JVM, so it is imported here only."""
    with _starting:
        return _start()


@cache
def _start() -> Any:
    import jnius_config

    if not jnius_config.vm_running:
        java = java_info()
        options = [f"-Xmx{_heap()}", "--enable-native-access=ALL-UNNAMED"]
        options.append("-Xrs")  # Ctrl-C stays Python's
        if java.major >= 23:  # Lucene 9 unmaps files by a method against which Java warns
            options.append("--sun-misc-unsafe-memory-access=allow")
        jnius_config.set_classpath(str(anserini_jar()))
        jnius_config.set_options(*options)
        with _environment(java.home):
            try:
                import jnius
            except Exception as error:
                message = f"Java {java.version} does not start with {' '.join(options)}: {error}"
                hint = "choose another Java with JAVA_HOME, or less memory with IRKIT_JAVA_HEAP"
                raise DependencyError.of(message, where=str(java.home), hint=hint) from error
    import jnius

    try:
        searcher = jnius.autoclass(
            "org.apache.lucene.search.IndexSearcher", include_protected=False, include_private=False
        )
    except (
        jnius.JavaException
    ) as error:  # somebody else started it, for something else; a process has only one
        message = "a JVM without Anserini on its class path already runs in this process"
        hint = "let irkit start it: run a bm25 stage first, or use another process"
        raise DependencyError.of(message, hint=hint) from error
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
