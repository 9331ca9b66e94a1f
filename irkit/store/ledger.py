"""Ledgers: what cost something to make and cannot be made again for nothing, such as the texts of a paid language model.

An artifact is built whole from its recipe, and whatever is removed is built again. A ledger grows by one line for every entry,
written the moment it is there, so that work which fails in the middle keeps what was paid for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Self

from filelock import FileLock, Timeout

from irkit.core.errors import StoreError
from irkit.core.files import replacing, sync_folder
from irkit.core.fingerprint import fingerprint

FOLDER = "ledgers"
_STRIPE = 3
"""Hexadecimal digits of a key's digest that choose its lock: 4096 locks at most, however many keys there are."""


class Ledger:
    """An append-only file of values by key: one JSON object ``{"digest", "key", "value"}`` a line.

    Any number of processes may use one. An entry is on the disk when :meth:`put` returns, and never changes: the first value of a
    key is its value. A piece of a line that a killed process left at the end is cut off by the next one that writes, a whole line
    that lost its end (editors do that) gets it back; a line that is not as it was written is passed over, and :meth:`damaged`
    tells of it.

    Args:
        file: of the ledger; need not exist.
        locks: the folder of the locks.
    """

    def __init__(self, file: Path, locks: Path) -> None:
        self.file = file
        self._locks = locks
        self._mutex = RLock()
        self._forget()

    @classmethod
    def of(cls, root: Path, name: str) -> Self:
        """Return the ledger ``name`` of the store at ``root``."""
        return cls(root / FOLDER / f"{name}.jsonl", root / "locks")

    @property
    def name(self) -> str:
        """The name in the store."""
        return self.file.stem

    @property
    def size(self) -> int:
        """The bytes of the file."""
        try:
            return self.file.stat().st_size
        except FileNotFoundError:
            return 0

    def get(self, key: str) -> Any:
        """Return the value of ``key``, also one that another process has put there since; None where there is none.

        Raises:
            StoreError: when the file cannot be read.
        """
        with self._mutex:
            if key not in self._values:
                self._refresh()
            return self._values.get(key)

    def put(self, key: str, value: Any) -> Any:
        """Add an entry, and return the value that now counts: that of the process which was first.

        Args:
            key: any text.
            value: of JSON, not None.

        Raises:
            StoreError: when the file cannot be written; then it holds what it held before.
        """
        line = _line(key, value)
        with self._mutex, self._writing(), self._lock("write", wait=True):
            self._refresh()
            if key not in self._values:
                self._append(line)
                self._refresh()
            return self._values[key]

    @contextmanager
    def claim(self, key: str, *, wait: bool = False) -> Iterator[bool]:
        """Take it upon oneself to make the value of ``key``, so that no two processes pay for it.

        Yields:
            whether it is ours: False when another process is at it and ``wait`` is false. Who waited must look again whether
            the value is there. A claim ends with its process.
        """
        stripe = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_STRIPE]
        with self._lock(stripe, wait=wait) as ours:
            yield ours

    def __len__(self) -> int:
        with self._mutex:
            self._refresh()
            return len(self._values)

    def damaged(self) -> Iterator[tuple[int, str]]:
        """Yield (line, what is wrong) for every line that cannot be used, from 1 on. A torn last line counts for none."""
        for number, line in enumerate(self._lines(), 1):
            if _entry(line) is None:
                yield number, "the line is not as it was written"

    def mend(self) -> int:
        """Write the file anew without damaged lines, and return how many there were; what they held must be paid for again.

        Raises:
            StoreError: when the file cannot be written; then the old one stays.
        """
        with self._mutex, self._writing(), self._lock("write", wait=True):
            lines = list(self._lines())
            sound = [line for line in lines if _entry(line) is not None]
            if len(sound) < len(lines):
                with replacing(self.file) as file:
                    file.writelines(line.decode("ascii").rstrip("\n") + "\n" for line in sound)
                self._forget()
            return len(lines) - len(sound)

    # -- inside -----------------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._values: dict[str, Any] = {}
        self._read, self._inode = 0, -1

    def _refresh(self) -> None:
        """Read the whole lines that were added since."""
        try:
            with self.file.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._read:
                    self._forget()  # another file by now, or one that somebody shortened
                    self._inode = status.st_ino
                file.seek(self._read)
                for line in file:
                    entry = _entry(line)
                    if entry is None and not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    if entry is not None:
                        self._values.setdefault(*entry)
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise self._refused(error, "read") from error

    def _lines(self) -> Iterator[bytes]:
        """Yield the whole lines, and the last one where only its end is missing."""
        with suppress(FileNotFoundError), self.file.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") or _entry(line) is not None:
                    yield line

    def _append(self, line: bytes) -> None:
        """Add a line behind the last whole one, and flush it to disk; on an error the file becomes what it was."""
        fresh = not self.file.exists()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("r+b" if not fresh else "w+b", buffering=0) as file:
            file.truncate(self._read)  # after a refresh, what lies behind is a piece of a line
            file.seek(max(0, self._read - 1))
            if file.read(1) not in (b"", b"\n"):
                line = b"\n" + line
            file.seek(self._read)
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._read)
                raise
        if fresh:
            sync_folder(self.file.parent)

    @contextmanager
    def _lock(self, what: str, *, wait: bool) -> Iterator[bool]:
        with self._writing():
            self._locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._locks / f"ledger-{self.name}-{what}.lock", timeout=-1 if wait else 0)
            with suppress(Timeout):
                lock.acquire()
        try:
            yield lock.is_locked
        finally:
            if lock.is_locked:
                lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refused(error, "written") from error

    def _refused(self, error: OSError, what: str) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space (irkit store gc --max-size 5GB), or choose another place with --store or IRKIT_STORE"
            return StoreError.of("the disk is full", where=str(self.file), hint=hint)
        return StoreError.of(
            f"the ledger cannot be {what}: {error.strerror or error}",
            where=str(self.file),
            hint="choose a folder you may write to, with --store or IRKIT_STORE",
        )


def _line(key: str, value: Any) -> bytes:
    text = json.dumps({"digest": fingerprint([key, value]), "key": key, "value": value}, allow_nan=False)
    return text.encode("ascii") + b"\n"


def _entry(line: bytes) -> tuple[str, Any] | None:
    """Return (key, value) of a line; None where it is not as it was written."""
    try:
        entry = json.loads(line)
        key, value = entry["key"], entry["value"]
        sound = isinstance(key, str) and entry["digest"] == fingerprint([key, value])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return (key, value) if sound else None
