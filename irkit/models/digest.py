"""Fingerprints of model files, without loading them and without hashing a large file twice."""

from __future__ import annotations

import base64
import csv
from collections.abc import Collection
from pathlib import Path

from irkit.core.errors import ModelError
from irkit.core.fingerprint import file_sha256, fingerprint
from irkit.models.catalogue import Found, models_folder
from irkit.store.digests import DigestCache

_LARGE = 16 * 1024 * 1024


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


def folder_fingerprint(folder: Path, without: Collection[str] = ()) -> str:
    """Return the fingerprint of the names and contents of a folder's files, documentation and hidden files left out, and
    those that are named.
    """
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return fingerprint(
        {name: _sha256(path) for name, path in files.items() if _counts(name) and name not in without}
    )


def _counts(relative: str) -> bool:
    """Whether a file can change what the model computes."""
    return not relative.endswith(".md") and not any(part.startswith(".") for part in relative.split("/"))


def _sha256(path: Path) -> str:
    try:
        if path.stat().st_size < _LARGE:
            return file_sha256(path)
        return DigestCache(models_folder() / "digests.json").sha256(path)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise ModelError.of(message, where=str(path), hint="check its permissions") from error
