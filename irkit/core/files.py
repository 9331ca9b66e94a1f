"""Files that appear whole or not at all, and that are on the disk when they do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from irkit.core.errors import ReportError

_File = TypeVar("_File", bound=IO[Any])


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file (UTF-8, ``\\n``) that takes the place of ``path`` when the block ends well; its folder must exist.

    The text goes to a hidden sibling, is flushed to disk, and takes its place by one rename: nobody ever reads half of it,
    also when the process is killed. On an error, of the block's too, the old file stays.

    Raises:
        OSError: when the operating system refuses.
    """
    with _replacing(path, lambda partial: partial.open("w", encoding="utf-8", newline="\n")) as file:
        yield file


@contextmanager
def _replacing(path: Path, start: Callable[[Path], _File]) -> Iterator[_File]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        file = start(partial)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as :func:`replacing` does; make its folder where it is missing.

    Raises:
        ReportError: when the operating system refuses: read-only folder, full disk.
    """
    with _told(path), replacing(path) as file:
        file.write(text)


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as :func:`write_atomically` writes text.

    Raises:
        ReportError: when the operating system refuses: read-only folder, full disk.
    """
    with _told(path), _replacing(path, lambda partial: partial.open("wb")) as file:
        file.write(data)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make the folder of ``path`` where it is missing, and say what the operating system refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message, hint = "the disk is full", "free some space, or choose another folder for the run"
        else:
            message = f"the file cannot be written: {error.strerror or error}"
            hint = "choose a folder that you may write to"
        raise ReportError.of(message, where=str(path), hint=hint) from error


def sync(path: Path) -> None:
    """Flush a file, or every file and folder below a folder, to disk."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
        sync_folder(path)
    else:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's list of names to disk: only then has a rename in it happened for good."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
