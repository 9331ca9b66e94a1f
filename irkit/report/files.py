"""Files of a run's folder are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from irkit.core.errors import IrkitError


class ReportError(IrkitError):
    """The results of an experiment cannot be written or read."""


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``; make its folder where it is missing.

    The text goes to a hidden sibling, is flushed to disk, and takes the place of ``path`` by one rename:
    nobody ever reads half of it, also when the process is killed. On an error the old file stays.

    Raises:
        ReportError: when the operating system refuses: read-only folder, full disk.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message, hint = "the disk is full", "free some space, or choose another folder for the run"
        else:
            message = f"the file cannot be written: {error.strerror or error}"
            hint = "choose a folder that you may write to"
        raise ReportError.of(message, where=str(path), hint=hint) from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
