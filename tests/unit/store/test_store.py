"""The store: one build for all, nothing half-written, damage noticed, and clear answers when it cannot be written."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from irkit.core.errors import StoreError
from irkit.store import MANIFEST, Artifact, Build, Recipe, Store

RECIPE = Recipe("vectors", {"model": "m", "dims": 3})


def write(build: Build) -> dict[str, Any]:
    np.save(build.path("vectors.npy"), np.arange(300, dtype=np.float32), allow_pickle=False)
    build.path("sub").mkdir()
    build.path("sub/ids.txt").write_text("a\nb\n", encoding="utf-8")
    return {"count": 100}


def never(build: Build) -> dict[str, Any]:
    raise AssertionError("it was built again")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[str]:
    """Everything in the store's folder that is neither a finished artifact nor a lock."""
    finished = [artifact.path for artifact in store.artifacts()]
    return [
        str(path.relative_to(store.root))
        for path in store.root.rglob("*")
        if path.is_file()
        and path.parent.name != "locks"
        and not any(path.is_relative_to(f) for f in finished)
    ]


def test_what_was_built_is_found(store: Store) -> None:
    assert store.find(RECIPE) is None
    built = store.get(RECIPE, write)
    found = store.get(RECIPE, never)
    assert found == built == store.find(RECIPE)
    assert (found.kind, found.key, found.recipe, found.meta) == (
        "vectors",
        RECIPE.key,
        RECIPE.spec,
        {"count": 100},
    )
    assert np.load(found.file("vectors.npy")).sum() == np.arange(300).sum()
    assert found.bytes == sum(
        p.stat().st_size for p in found.path.rglob("*") if p.is_file() and p.name != MANIFEST
    )
    assert leftovers(store) == []
    assert list(store.unfinished()) == []
    assert list(store.verify()) == []


def test_meta_is_the_same_when_it_was_just_built_and_when_it_is_read(store: Store) -> None:
    def builder(build: Build) -> Mapping[str, Any]:
        return {"tuple": (1, 2), "number": {10: "a", 9: "b"}, "nan": float("inf")}

    assert store.get(RECIPE, builder).meta == store.get(RECIPE, never).meta


def test_recipes_have_artifacts_of_their_own(store: Store) -> None:
    store.get(RECIPE, write)
    assert store.find(Recipe("vectors", {"model": "m", "dims": 4})) is None
    assert store.find(Recipe("rankings", RECIPE.spec)) is None
    assert store.find(Recipe("vectors", RECIPE.spec, "part")) is None


def test_siblings_differ_in_their_part_alone(store: Store) -> None:
    for part in ("2", "1"):
        store.get(Recipe("rankings", {"a": 1}, part), write)
    store.get(Recipe("rankings", {"a": 2}, "1"), write)
    found = [artifact.key for artifact in store.siblings(Recipe("rankings", {"a": 1}, "3"))]
    base = Recipe("rankings", {"a": 1}).base
    assert found == [f"{base}-1", f"{base}-2"]


def test_a_builder_that_fails_leaves_nothing_but_shards(store: Store) -> None:
    made: list[str] = []

    def shard(name: str) -> Callable[[Path], None]:
        def write_shard(path: Path) -> None:
            made.append(name)
            path.write_text(name, encoding="utf-8")

        return write_shard

    def fails(build: Build) -> dict[str, Any]:
        build.path("half.txt").write_text("half", encoding="utf-8")
        build.shard("0", shard("0"))
        build.shard("1", shard("1"))
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        store.get(RECIPE, fails)
    assert store.find(RECIPE) is None
    assert list(store.artifacts()) == []
    ((folder, size),) = store.unfinished()
    assert folder.name == RECIPE.key
    assert size > 0

    def goes_on(build: Build) -> dict[str, Any]:
        assert not build.path("half.txt").exists()
        assert (build.has_shard("0"), build.has_shard("2")) == (True, False)
        parts = [build.shard(name, shard(name)).read_text(encoding="utf-8") for name in "012"]
        build.path("whole.txt").write_text("".join(parts), encoding="utf-8")
        return {}

    assert store.get(RECIPE, goes_on).file("whole.txt").read_text(encoding="utf-8") == "012"
    assert made == ["0", "1", "2"]
    assert list(store.unfinished()) == []
    assert leftovers(store) == []


def test_a_builder_that_fails_without_shards_leaves_nothing(store: Store) -> None:
    def fails(build: Build) -> dict[str, Any]:
        build.path("half.txt").write_text("half", encoding="utf-8")

        def fails_too(path: Path) -> None:
            path.write_text("half a shard", encoding="utf-8")
            raise ValueError("no more")

        build.shard("0", fails_too)
        raise AssertionError

    with pytest.raises(ValueError, match="no more"):
        store.get(RECIPE, fails)
    assert list(store.unfinished()) == []
    assert leftovers(store) == []


def test_half_a_shard_is_written_again(store: Store) -> None:
    def dies(path: Path) -> None:
        path.mkdir()
        (path / "x").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get(RECIPE, lambda build: {"n": build.shard("0", dies)})

    def again(build: Build) -> dict[str, Any]:
        assert not build.has_shard("0")
        shard = build.shard("0", lambda path: path.write_text("whole", encoding="utf-8") and None)
        return {"text": shard.read_text(encoding="utf-8")}

    assert store.get(RECIPE, again).meta == {"text": "whole"}


@pytest.mark.parametrize("left", [RECIPE.key, f".trash-{RECIPE.key}"])  # by a build, by the sweeping up
def test_what_a_kill_left_beside_a_finished_artifact_is_swept_up(store: Store, left: str) -> None:
    store.get(RECIPE, write)
    shards = store.root / "building" / left / "shards"
    shards.mkdir(parents=True)
    (shards / "0").write_text("large", encoding="utf-8")
    store.get(RECIPE, never)
    assert list(store.unfinished()) == []
    assert leftovers(store) == []


def test_a_removal_that_was_interrupted_is_finished(store: Store) -> None:
    path = store.get(RECIPE, write).path
    trash = path.rename(path.with_name(f".trash-{path.name}"))
    assert store.find(RECIPE) is None
    assert list(store.artifacts()) == []
    assert list(store.verify()) == []
    ((folder, _),) = store.unfinished()
    assert folder == trash
    assert store.remove(folder)
    assert leftovers(store) == []


def test_remove(store: Store) -> None:
    path = store.get(RECIPE, write).path
    assert store.remove(path)
    assert store.find(RECIPE) is None
    assert store.remove(path), "what another process has removed is removed"
    assert leftovers(store) == []


def test_a_build_under_way_is_not_removed(store: Store) -> None:
    def write_slowly(build: Build) -> dict[str, Any]:
        build.path("x").write_text("x", encoding="utf-8")
        ((folder, _),) = store.unfinished()
        assert not Store(store.root).remove(folder)
        assert build.path("x").exists()
        return {}

    store.get(RECIPE, write_slowly)


def test_waiting_for_another_process_is_told(store: Store) -> None:
    waited: list[Recipe] = []
    lock = FileLock(store.root / "locks" / f"{RECIPE.key}.lock")
    Path(lock.lock_file).parent.mkdir(parents=True)
    lock.acquire()

    def on_wait(recipe: Recipe) -> None:
        waited.append(recipe)
        lock.release()

    Store(store.root, on_wait=on_wait).get(RECIPE, write)
    assert waited == [RECIPE]


def test_being_used_is_noted_and_being_looked_at_is_not(store: Store) -> None:
    manifest = store.get(RECIPE, write).file(MANIFEST)
    os.utime(manifest, (0, 0))
    list(store.artifacts())
    list(store.verify())
    store.match("")
    assert manifest.stat().st_mtime == 0
    store.find(RECIPE)
    assert manifest.stat().st_mtime > 0


# Damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def delete(path: Path) -> None:
    path.unlink()


def test_every_damage_is_found_and_mended(store: Store) -> None:
    other = store.get(Recipe("other", {}), write)
    for damage in (cut, flip, delete):
        for name in ("vectors.npy", "sub/ids.txt", MANIFEST):
            artifact = store.get(RECIPE, write)
            damage(artifact.file(name))
            ((key, problem),) = store.verify()
            assert key == RECIPE.key
            assert problem
            if damage is not flip or name == MANIFEST:  # what its size or seal shows is noticed at every use
                with pytest.raises(StoreError, match="gc --broken") as caught:
                    store.get(RECIPE, never)
                assert caught.value.problems[0].where == str(artifact.file(name))
            assert [a.key for a in store.artifacts() if a.damaged() == []] == [other.key]
            (broken,) = store.match(key)
            store.remove(broken)
            assert list(store.verify()) == []


@pytest.mark.parametrize("text", ["", "null", "[]", "5", '{"files": {}}', '{"seal": "x"}', "\udcff"])
def test_any_manifest_is_refused_that_was_not_written_by_the_store(store: Store, text: str) -> None:
    artifact = store.get(RECIPE, write)
    artifact.file(MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match="manifest"):
        store.find(RECIPE)
    assert [key for key, _ in store.verify()] == [RECIPE.key]
    assert list(store.artifacts()) == []


def test_every_single_byte_of_a_manifest_counts(store: Store) -> None:
    path = store.get(RECIPE, write).file(MANIFEST)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        data = bytearray(whole)
        data[at] ^= 1
        if data.split() == whole.split():
            continue
        path.write_bytes(data)
        try:
            same = json.loads(data) == json.loads(whole)
        except ValueError:
            same = False
        if not same:
            with pytest.raises(StoreError):
                Artifact.read(path.parent)


def test_an_artifact_in_the_place_of_another_is_refused(store: Store) -> None:
    other = Recipe("vectors", {"model": "other"})
    path = store.get(RECIPE, write).path
    place = store.root / other.key[:2] / other.key
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    with pytest.raises(StoreError, match="manifest"):
        store.get(other, write)


# Where it cannot be written


def test_a_store_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    store = Store(tmp_path / "file" / "store")
    assert store.find(RECIPE) is None
    with pytest.raises(StoreError, match="cannot be written") as caught:
        store.get(RECIPE, never)
    (problem,) = caught.value.problems
    assert problem.where == str(store.root)
    assert "--store" in (problem.hint or "")


def refuse(number: int) -> Callable[..., Any]:
    def raising(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number), str(self))

    return raising


@pytest.mark.parametrize(
    ("number", "message", "remedy"),
    [
        (errno.EROFS, "cannot be written: Read-only file system", "IRKIT_STORE"),
        (errno.EACCES, "cannot be written: Permission denied", "IRKIT_STORE"),
        (errno.ENOSPC, "the disk is full", "irkit store gc --max-size"),
        (errno.EDQUOT, "the disk is full", "irkit store gc --max-size"),
    ],
)
def test_a_refusal_of_the_operating_system(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, message: str, remedy: str
) -> None:
    kept = store.get(Recipe("kept", {}), write)
    with monkeypatch.context() as refusing:
        for name in ("mkdir", "write_text", "rename"):
            refusing.setattr(Path, name, refuse(number))
        refusing.setattr(os, "utime", refuse(number))
        with pytest.raises(StoreError, match=message) as caught:
            store.get(RECIPE, write)
        assert remedy in (caught.value.problems[0].hint or "")
        assert caught.value.problems[0].where == str(store.root)
        assert store.get(Recipe("kept", {}), never) == kept, "what is stored can still be read"
        assert list(store.verify()) == []
        with pytest.raises(StoreError, match=message):
            store.remove(kept.path)
    assert store.get(RECIPE, write).meta == {"count": 100}
    assert leftovers(store) == []


def test_the_disk_fills_up_during_a_build(store: Store) -> None:
    def fills(build: Build) -> dict[str, Any]:
        path = build.path("big.bin")
        path.write_bytes(b"x" * 100)
        raise OSError(
            errno.ENOSPC, os.strerror(errno.ENOSPC)
        )  # as numpy and Lucene report it: without a file

    with pytest.raises(StoreError, match="the disk is full"):
        store.get(RECIPE, fills)
    assert store.find(RECIPE) is None
    with pytest.raises(StoreError, match="the disk is full"):
        store.get(RECIPE, fills)
    assert not store.get(RECIPE, write).file("big.bin").exists()


def test_other_errors_of_a_builder_pass_through(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.get(RECIPE, lambda _: {"n": (tmp_path / "none").read_text(encoding="utf-8")})
    with pytest.raises(PermissionError):
        store.get(RECIPE, lambda _: refuse(errno.EACCES)(tmp_path / "somewhere else"))
