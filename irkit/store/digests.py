"""SHA-256 of files, remembered by path, size, times of change and inode, so that a large file is read once."""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from irkit.core.fingerprint import file_sha256

_SETTLED_NS = 2_000_000_000
"""A file changed within the last two seconds may change again without a new time stamp: its digest is not remembered."""


class DigestCache:
    """The digests that one file remembers. A cache: the file may be missing, damaged, or impossible to write."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes: the remembered one, unless size, mtime, ctime or inode is another.

        Raises:
            OSError: when the file cannot be read.
        """
        name, status = str(path.resolve()), path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._read().get(name)
        if known and known[:-1] == stamp:
            return str(known[-1])
        digest = file_sha256(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._remember(name, [*stamp, digest])
        return digest

    def _read(self) -> dict[str, list[object]]:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(kept, dict):
            return {}
        return {name: entry for name, entry in kept.items() if isinstance(entry, list) and len(entry) == 5}

    def _remember(self, name: str, entry: list[object]) -> None:
        with suppress(OSError):  # where nothing can be written, the file is read again next time
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self._file.parent, prefix=".digests-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump({**self._read(), name: entry}, file, indent=1)
                Path(partial).replace(self._file)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
