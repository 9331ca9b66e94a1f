"""SHA-256 of local files, remembered by path, size and time of change, so that a large file is read once."""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from irkit.core.errors import DataError
from irkit.core.fingerprint import file_sha256

_FILE = "digests.json"
_SETTLED_NS = 2_000_000_000
"""A file changed within the last two seconds may change again without a new time stamp: its digest is not remembered."""


class Digests:
    """The digests that one store remembers. A cache: it may be missing, damaged, or impossible to write."""

    def __init__(self, root: Path) -> None:
        self._path = root / _FILE

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes.

        Raises:
            DataError: when the file cannot be read.
        """
        try:
            name, status = str(path.resolve()), path.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._read().get(name)
            if isinstance(known, list) and known[:3] == stamp and isinstance(known[-1], str):
                return known[-1]
            digest = file_sha256(path)
        except OSError as error:
            hint = "check its permissions"
            raise DataError.of(
                f"the file cannot be read: {error.strerror}", where=str(path), hint=hint
            ) from error
        if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
            self._remember(name, [*stamp, digest])
        return digest

    def _read(self) -> dict[str, object]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _remember(self, name: str, entry: list[object]) -> None:
        with suppress(OSError):  # a store that cannot be written goes without
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self._path.parent, prefix=".digests-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump({**self._read(), name: entry}, file)
                Path(partial).replace(self._path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
