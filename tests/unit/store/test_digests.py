"""Tests of the remembered digests: never stale, and nothing is left behind where nothing can be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from irkit.core.fingerprint import file_sha256
from irkit.store import digests
from irkit.store.digests import DigestCache


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read; every file counts as settled."""
    read: list[Path] = []
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)
    monkeypatch.setattr(digests, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    return read


def test_a_file_is_read_once(tmp_path: Path, hashed: list[Path]) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    for _ in range(2):  # the second from the file, as another process would
        assert DigestCache(tmp_path / "new" / "digests.json").sha256(file) == file_sha256(file)
    assert hashed == [file]


def test_an_edit_in_place_with_the_old_size_and_time_is_noticed(tmp_path: Path, hashed: list[Path]) -> None:
    file, cache = tmp_path / "weights", DigestCache(tmp_path / "digests.json")
    file.write_bytes(b"weights")
    before, status = cache.sha256(file), file.stat()
    while file.stat().st_ctime_ns == status.st_ctime_ns:  # until the clock of the file system ticks
        with file.open("r+b") as opened:
            opened.write(b"WEIGHTS")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = file.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (status.st_size, status.st_mtime_ns, status.st_ino)
    assert cache.sha256(file) == file_sha256(file) != before


def test_a_file_that_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "weights", tmp_path / "digests.json"
    file.write_bytes(b"weights")
    monkeypatch.setattr(digests, "_SETTLED_NS", 10**18)
    DigestCache(cache).sha256(file)
    assert not cache.exists()
    os.utime(file, (1, 1))  # the restored time of a copy: it was still changed just now
    DigestCache(cache).sha256(file)
    assert not cache.exists()


def test_a_full_disk_leaves_no_partial_file(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(digests.json, "dump", full)
    (tmp_path / "weights").write_bytes(b"weights")
    cache = DigestCache(tmp_path / "cache" / "digests.json")
    assert cache.sha256(tmp_path / "weights") == file_sha256(tmp_path / "weights")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("damage", ["{damaged", "[]", '{"PATH": "text"}', '{"PATH": [1, 2]}'])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, hashed: list[Path], damage: str) -> None:
    file, kept = tmp_path / "weights", tmp_path / "digests.json"
    file.write_bytes(b"weights")
    kept.write_text(damage.replace("PATH", str(file)))
    assert DigestCache(kept).sha256(file) == file_sha256(file) == DigestCache(kept).sha256(file)
    assert hashed == [file]


def test_a_file_that_cannot_be_read_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DigestCache(tmp_path / "digests.json").sha256(tmp_path / "absent")
