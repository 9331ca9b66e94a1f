"""Artifacts: what an entry of the store is, and the recipe that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from irkit.core.errors import StoreError
from irkit.core.fingerprint import file_sha256, fingerprint

MANIFEST = "manifest.json"
_SEAL = "seal"


def seal(manifest: Mapping[str, Any]) -> str:
    """Return the text of the manifest's file: with a digest of its own, so that damage to it is seen too."""
    plain = json.loads(json.dumps(manifest))
    return json.dumps({**plain, _SEAL: _digest(plain)}, indent=1, sort_keys=True)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """What an artifact is made from; its fingerprint is the artifact's key.

    Attributes:
        kind: what it is, in a word: ``docs``, ``topics``, ``lucene``, ``vectors``, ``rankings``, ...
        spec: everything that can change the content, as JSON values, and nothing else.
        part: for results of one node over different queries: which queries. Artifacts that differ only in ``part`` are siblings.
    """

    kind: str
    spec: Mapping[str, Any]
    part: str | None = field(default=None)

    @cached_property
    def base(self) -> str:
        """The key without the part."""
        return fingerprint({"kind": self.kind, "spec": self.spec})

    @property
    def key(self) -> str:
        """The name of the artifact in the store."""
        return f"{self.base}-{self.part}" if self.part else self.base


@dataclass(frozen=True)
class Artifact:
    """A finished entry of the store: a folder of files and its manifest. Never changed after it was made."""

    path: Path
    manifest: Mapping[str, Any]
    last_used: float = field(compare=False)
    """When, in seconds since 1970."""

    @classmethod
    def read(cls, path: Path) -> Artifact:
        """Read the manifest of the folder ``path`` and check that its files have the sizes it promises.

        Raises:
            StoreError: when the manifest cannot be read or was changed, or a file is missing or has another size.
        """
        hint = _remedy(path)
        try:
            last_used = (path / MANIFEST).stat().st_mtime
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            sound = manifest.pop(_SEAL) == _digest(manifest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError.of(
                f"the manifest cannot be read: {error}", where=str(path / MANIFEST), hint=hint
            ) from error
        if not sound or manifest["key"] != path.name:
            message = "the manifest is not as it was written"
            raise StoreError.of(message, where=str(path / MANIFEST), hint=hint)
        for name, entry in manifest["files"].items():
            try:
                size = (path / name).stat().st_size
            except OSError as error:
                raise StoreError.of(
                    "the file is missing from the artifact", where=str(path / name), hint=hint
                ) from error
            if size != entry["bytes"]:
                message = f"the file has {size} bytes, the manifest says {entry['bytes']}"
                raise StoreError.of(message, where=str(path / name), hint=hint)
        return cls(path, manifest, last_used)

    @property
    def key(self) -> str:
        """The name in the store."""
        return str(self.manifest["key"])

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return str(self.manifest["kind"])

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What it was made from."""
        return dict(self.manifest["recipe"])

    @property
    def meta(self) -> Mapping[str, Any]:
        """What its builder wrote down: counts, device, seconds."""
        return dict(self.manifest["meta"])

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.path / name

    def damaged(self) -> list[str]:
        """Hash every file again and return the names of those that differ from the manifest."""
        return [
            name
            for name, entry in self.manifest["files"].items()
            if _sha256(self.file(name)) != entry["sha256"]
        ]

    def require_sound(self) -> None:
        """Hash every file again.

        Raises:
            StoreError: when one differs from the manifest.
            FileNotFoundError: when another process has removed the artifact.
        """
        names = self.damaged()
        if names and not self.path.is_dir():
            raise FileNotFoundError(self.path)
        if names:
            message = "the file does not have the content it was stored with"
            raise StoreError.of(message, where=str(self.file(names[0])), hint=_remedy(self.path))


def _remedy(path: Path) -> str:
    return f"remove it with: irkit store gc --broken (it will be built again); key {path.name[:12]}"


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None
