"""Content fingerprints: the same meaning gives the same 64 hexadecimal digits, in every process and on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def canonical(value: object) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, exact floats.

    ``1`` and ``1.0`` are different values here, so configurations must be validated (and so converted) first.

    Raises:
        TypeError: for a value JSON has no form for, a key that is not a string, or a float that is not finite.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _check(value: object, path: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{path}: key {key!r} is not a string")
            _check(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{path}: {value} cannot be part of a fingerprint")
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{path}: {type(value).__name__} cannot be part of a fingerprint")


def fingerprint(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
