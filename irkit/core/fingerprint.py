"""Content fingerprints: the same meaning gives the same 64 hexadecimal digits, everywhere."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


def canonical(value: object) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, exact floats.

    ``1`` and ``1.0`` are different values here, so configurations must be validated (and so converted) first;
    a tuple is a list, any mapping is an object, and ``-0.0`` is ``0.0``.

    Raises:
        TypeError: for a value JSON has no form for, a key that is not a string, or a float that is not
            finite.
    """
    return json.dumps(
        _plain(value, "value"), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: object, path: str) -> Json:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{path}: key {key!r} is not a string")
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{path}: {value} cannot be part of a fingerprint")
        return float(value) + 0.0
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} cannot be part of a fingerprint")


def fingerprint(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
