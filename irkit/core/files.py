"""Files that appear whole or not at all, and that are on the disk when they do."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from irkit.core.errors import ReportError

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_numbers = itertools.count()


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file (UTF-8, ``\\n``) that takes the place of ``path`` when the block ends well; its folder must exist.

    The text goes to a hidden sibling, is flushed to disk, and takes its place by one rename: nobody ever reads half of it,
    also when the process is killed. On an error, of the block's too, the old file stays.

    Raises:
        OSError: when the operating system refuses.
    """
    with partial_of(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def partial_of(path: Path) -> Iterator[Path]:
    """Yield the hidden sibling that takes the place of ``path`` as in :func:`replacing`, for what opens its file itself.

    Raises:
        OSError: when the operating system refuses.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        sync(partial)
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
    with refusals_told(path), replacing(path) as file:
        file.write(text)


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as :func:`write_atomically` writes text.

    Raises:
        ReportError: when the operating system refuses: read-only folder, full disk.
    """
    with refusals_told(path), partial_of(path) as partial:
        partial.write_bytes(data)


@contextmanager
def tensor_errors() -> Iterator[None]:
    """Raise the error that safetensors has of its own, for a full disk too, as an OSError.

    Raises:
        OSError: when safetensors cannot write.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """Make the folder of ``path`` where it is missing, and say what the operating system refuses.

    Raises:
        ReportError: when it does.
    """
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


@contextmanager
def appearing(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Make a folder under another name, which becomes its own when the block ends well; its parents are made too.

    What was written is on the disk before the folder is there. On an error, of the block's too, nothing of it is left.

    Args:
        folder: to be made.
        replace: whether it takes the place of one that is there, which is moved aside first and removed last. A process that is
            killed between these two renames leaves the old one beside it, in a hidden folder ending in ``.old``.

    Yields:
        the empty folder to write into.

    Raises:
        OSError: when the operating system refuses, or without ``replace`` something is there.
    """
    whole = folder.resolve() if replace else folder.absolute()
    mark = f".{whole.name}.{os.getpid()}.{next(_numbers)}"
    partial, old = whole.with_name(f"{mark}.partial"), whole.with_name(f"{mark}.old")
    if not replace:
        _require_none(whole)
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
    try:
        partial.mkdir(parents=True)
        yield partial
        sync(partial)
        if replace and whole.exists():
            _exchange(whole, partial, old)
        else:
            _require_none(whole)  # for a rename would take an empty folder's place
            partial.rename(whole)
        sync_folder(whole.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_none(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _exchange(folder: Path, new: Path, old: Path) -> None:
    """Put a finished folder in the place of another, which is moved to ``old``; on an error it is back."""
    shutil.rmtree(old, ignore_errors=True)  # the folder is there, so this is not the last of it
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise


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
