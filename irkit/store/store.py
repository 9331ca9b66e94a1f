"""The store of a workspace: find an artifact by its recipe, or build it exactly once."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from irkit.core.errors import StoreError
from irkit.core.files import sync, sync_folder
from irkit.core.fingerprint import canonical, file_sha256
from irkit.store.artifact import MANIFEST, Artifact, Recipe, seal
from irkit.store.ledger import FOLDER, Ledger

_SHARDS, _FILES, _RECIPE = "shards", "files", "recipe.json"
_PARTIAL = ".partial"
TRASH = ".trash-"


@dataclass(frozen=True)
class Build:
    """The folder in which a builder makes one artifact; only its holder writes there.

    A builder writes the artifact's files through :meth:`path`. Work that takes long goes through :meth:`shard`: a shard that was
    finished is found again after a crash, so only what is missing is computed.
    """

    folder: Path

    def path(self, name: str) -> Path:
        """Return the path at which to write the artifact's file (or folder) ``name``."""
        return self.folder / _FILES / name

    def shard(self, name: str, write: Callable[[Path], None]) -> Path:
        """Return the finished shard ``name``; when there is none yet, ``write`` makes it: a file or a folder, at the
        path that it is given.
        """
        done = self.folder / _SHARDS / name
        if not done.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            partial = done.with_name(done.name + _PARTIAL)
            _remove(partial)
            write(partial)
            sync(partial)
            partial.rename(done)
            sync_folder(done.parent)
        return done

    def has_shard(self, name: str) -> bool:
        """Whether an earlier, interrupted build left the shard ``name``."""
        return (self.folder / _SHARDS / name).exists()


class Store:
    """Artifacts by key under one folder: ``ab/abcdef.../`` finished, ``building/`` under way, ``locks/``, and ``ledgers/``.

    Any number of processes may use one store. An artifact appears by one rename, after its files were flushed to disk, so a
    process that is killed leaves nothing half-written; a lock per artifact lets one process build while the others wait.
    """

    def __init__(self, root: Path, *, on_wait: Callable[[Recipe], None] | None = None) -> None:
        self.root = root
        self._on_wait = on_wait
        self._ledgers: dict[str, Ledger] = {}

    def find(self, recipe: Recipe) -> Artifact | None:
        """Return the artifact of this recipe, or None when it was not built yet."""
        return _used(self._read(self._place(recipe.key)))

    def siblings(self, recipe: Recipe) -> Iterator[Artifact]:
        """Yield the artifacts that differ from this recipe only in their part, in the order of their keys."""
        for path in sorted(self._place(recipe.base).parent.glob(f"{recipe.base}-*")):
            artifact = _used(self._read(path))
            if artifact is not None:
                yield artifact

    def get(self, recipe: Recipe, builder: Callable[[Build], Mapping[str, Any]]) -> Artifact:
        """Return the artifact of this recipe; build it when there is none.

        Args:
            recipe: what the artifact is made from.
            builder: writes the files and returns the manifest's ``meta`` (JSON values). Its exceptions pass through, and what
                it wrote is dropped, except finished shards.

        Raises:
            StoreError: when the store cannot be written or the artifact is damaged.
        """
        found = self.find(recipe)
        if found is not None:
            for left in (recipe.key, TRASH + recipe.key):
                self._sweep(self.root / "building" / left)
            return found
        with self._writing(), self._lock(recipe):
            found = self.find(recipe)  # another process may have built it while this one waited
            return found if found is not None else self._build(recipe, builder)

    def ledger(self, name: str) -> Ledger:
        """Return the ledger of this name: what cost something to make, entry by entry. Need not exist yet.

        It is the same object each time, so that its file is read once.
        """
        return self._ledgers.setdefault(name, Ledger.of(self.root, name))

    def ledgers(self) -> list[Ledger]:
        """Return the ledgers that there are, in the order of their names. Nothing but a person's hand removes one."""
        return [self.ledger(path.stem) for path in sorted(self.root.glob(f"{FOLDER}/*.jsonl"))]

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every finished artifact that can be read, in the order of their keys. To be looked at is not to be used."""
        for path in self._paths():
            with suppress(StoreError):
                artifact = self._read(path)
                if artifact is not None:
                    yield artifact

    def verify(self) -> Iterator[tuple[str, str]]:
        """Hash every file of every artifact; yield (key, what is wrong) for each that is damaged."""
        for path in self._paths():
            try:
                artifact = self._read(path)
            except StoreError as error:
                yield path.name, error.problems[0].message
                continue
            names = artifact.damaged() if artifact else []
            for name in names if path.is_dir() else []:  # else another process removed it just now
                yield path.name, f"{name} does not have the content it was stored with"

    def unfinished(self) -> Iterator[tuple[Path, int]]:
        """Yield the folder and the bytes of every build and removal that was interrupted or is under way."""
        for path in sorted([*self.root.glob("building/*"), *self.root.glob(f"[0-9a-f][0-9a-f]/{TRASH}*")]):
            yield path, sum(_size(file) for file in path.rglob("*"))

    def match(self, prefix: str) -> list[Path]:
        """Return the folders of the artifacts, readable or not, whose key starts with ``prefix``."""
        return [path for path in self._paths() if path.name.startswith(prefix)]

    def remove(self, path: Path) -> bool:
        """Remove the folder of an artifact or of an interrupted build.

        Returns:
            False when another process is building it just now: then it is left alone.

        Raises:
            StoreError: when the store cannot be written.
        """
        key = path.name.removeprefix(TRASH)
        with self._writing(), suppress(Timeout):
            locks = self.root / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            with FileLock(locks / f"{key}.lock", timeout=0):
                trash = path.with_name(TRASH + key)
                if path != trash:
                    _remove(trash)
                    with suppress(FileNotFoundError):  # another process was faster
                        path.rename(trash)
                _remove(trash)
                return True
        return False

    # -- inside -----------------------------------------------------------------------------------------------------------------

    def _place(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.root.glob("[0-9a-f][0-9a-f]/*") if not path.name.startswith("."))

    @staticmethod
    def _read(path: Path) -> Artifact | None:
        if not path.is_dir():
            return None
        try:
            return Artifact.read(path)
        except StoreError:
            if not path.is_dir():  # another process removed it just now
                return None
            raise

    def _build(self, recipe: Recipe, builder: Callable[[Build], Mapping[str, Any]]) -> Artifact:
        folder = self.root / "building" / recipe.key
        files = folder / _FILES
        _remove(files)
        files.mkdir(parents=True)
        (folder / _RECIPE).write_text(canonical({"kind": recipe.kind, "spec": recipe.spec}), encoding="utf-8")
        started = time.perf_counter()
        try:
            meta = builder(Build(folder))
        except BaseException:
            with suppress(OSError):
                _remove(files)
                for partial in (folder / _SHARDS).glob(f"*{_PARTIAL}"):
                    _remove(partial)
                with suppress(OSError):  # not there, or not empty
                    (folder / _SHARDS).rmdir()
                if [path.name for path in folder.iterdir()] == [
                    _RECIPE
                ]:  # no shard, no download to go on from
                    _remove(folder)
            raise
        seconds = time.perf_counter() - started
        sync(files)
        manifest: dict[str, Any] = {
            "key": recipe.key,
            "kind": recipe.kind,
            "recipe": recipe.spec,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "files": {
                str(path.relative_to(files)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in sorted(files.rglob("*"))
                if path.is_file()
            },
            "meta": dict(meta),
        }
        (files / MANIFEST).write_text(seal(manifest), encoding="utf-8")
        sync(files / MANIFEST)
        sync_folder(files)
        place = self._place(recipe.key)
        place.parent.mkdir(parents=True, exist_ok=True)
        files.rename(place)
        sync_folder(place.parent)
        _remove(folder)
        return Artifact.read(place)

    def _sweep(self, folder: Path) -> None:
        """Remove what a killed process left in ``building``, of a build or of a removal, unless another one is at work there."""
        if folder.is_dir():
            with suppress(StoreError, OSError):  # a read-only store is as good for reading
                self.remove(folder)

    @contextmanager
    def _lock(self, recipe: Recipe) -> Iterator[None]:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{recipe.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if self._on_wait:
                self._on_wait(recipe)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn the operating system's refusals to write below the store into errors a person can act on."""
        try:
            yield
        except OSError as error:
            ours = error.filename is None or Path(str(error.filename)).is_relative_to(self.root)
            if ours and error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = "free some space (irkit store gc --max-size 5GB), or choose another place with --store or IRKIT_STORE"
                raise StoreError.of("the disk is full", where=str(self.root), hint=hint) from error
            named = ours and error.filename is not None
            if named and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
                hint = "choose a folder you may write to, with --store or IRKIT_STORE"
                raise StoreError.of(
                    f"the store cannot be written: {error.strerror}", where=str(self.root), hint=hint
                ) from error
            raise


def _used(artifact: Artifact | None) -> Artifact | None:
    """Note when an artifact was last used, for ``irkit store gc``; a read-only store goes without."""
    if artifact is not None:
        with suppress(OSError):
            os.utime(artifact.path / MANIFEST)
    return artifact


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # its build goes on while we look
        return 0
