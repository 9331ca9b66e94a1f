"""Fingerprints of model files, without loading them and without hashing a large file twice."""

from __future__ import annotations

import base64
import csv
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256, fingerprint
from irkit.models.catalogue import Found, models_folder

_LARGE = 16 * 1024 * 1024
_memory: dict[str, str] = {}


def record_fingerprint(found: Found) -> str:
    """Return the fingerprint of a wheel's model from the digests in the wheel's RECORD (PEP 376, PEP 427).

    Nothing is hashed; each file must exist with the size that RECORD gives.

    Raises:
        ModelError: when RECORD does not cover the model, or a file is missing or has another size.
    """
    hint = "install the package again, or remove the folder and run: irkit models pull"
    digests: dict[str, str] = {}
    prefix = found.path.relative_to(found.root).as_posix()
    for name, digest, size in csv.reader(found.record.splitlines()):
        relative = name.removeprefix(prefix).removeprefix("/")
        if (name != prefix and not name.startswith(f"{prefix}/")) or not _counts(relative):
            continue
        path = found.root / name
        if not digest.startswith("sha256="):
            raise ModelError.of("RECORD has no sha256 of the file", where=str(path), hint=hint)
        if not path.is_file() or path.stat().st_size != int(size):
            raise ModelError.of(
                "the file is missing or has another size than when it was installed",
                where=str(path),
                hint=hint,
            )
        padded = digest.removeprefix("sha256=") + "=="
        digests[relative] = base64.urlsafe_b64decode(padded[: len(padded) // 4 * 4]).hex()
    if not digests:
        raise ModelError.of("RECORD does not list the model's files", where=str(found.path), hint=hint)
    return fingerprint(digests)


def folder_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the names and contents of a folder's files, documentation and hidden files left out."""
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return fingerprint({name: _sha256(path) for name, path in files.items() if _counts(name)})


def _counts(relative: str) -> bool:
    """Whether a file can change what the model computes."""
    return not relative.endswith(".md") and not any(part.startswith(".") for part in relative.split("/"))


def _sha256(path: Path) -> str:
    stat = path.stat()
    if stat.st_size < _LARGE:
        return file_sha256(path)
    # A file whose content changed has another size, change time or inode.
    key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}|{stat.st_ino}"
    if not _memory:
        _memory.update(_read())
    if key not in _memory:
        _memory[key] = file_sha256(path)
        _write(_memory)
    return _memory[key]


def _read() -> dict[str, str]:
    with suppress(OSError, ValueError):  # a cache: without it the file is hashed again
        kept = json.loads((models_folder() / "digests.json").read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in kept.items()}
    return {}


def _write(digests: dict[str, str]) -> None:
    with suppress(OSError):  # a cache: without it the file is hashed again next time
        folder = models_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=folder, prefix=".digests-", delete=False, encoding="utf-8") as file:
            json.dump(digests, file, indent=1)
        os.replace(file.name, folder / "digests.json")  # noqa: PTH105
