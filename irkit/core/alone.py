"""A folder that one process writes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock

from irkit.core.errors import ReportError


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock ``name`` in a folder, which is made; wait for it where another process holds it.

    The lock's file stays, for who waits for it holds on to it.

    Raises:
        ReportError: when the folder cannot be made, or nothing can be written there.
    """
    lock = FileLock(folder.absolute() / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        try:  # the lock's file may be there since the folder could be written
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise _refused(folder, error) from error
        yield
    finally:
        lock.release()


def _refused(folder: Path, error: OSError) -> ReportError:
    message = f"the folder cannot be written: {error.strerror or error}"
    return ReportError.of(message, where=str(folder), hint="choose a folder that you may write to")
