"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from irkit.core import files
from irkit.core.errors import ReportError


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    files.write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ReportError, match="disk is full"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_folder_is_made(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "a" / "b" / "x", "ä\n")
    assert (tmp_path / "a" / "b" / "x").read_bytes() == "ä\n".encode()


def test_nothing_stands_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with files.replacing(path) as file:
        file.write("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_an_error_of_the_writer_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"


def test_the_text_and_then_its_name_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), (tmp_path / "x").exists()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("only Linux says what a file descriptor stands for")
    monkeypatch.setattr(files.os, "fsync", fsync)
    files.write_atomically(tmp_path / "x", "new")
    assert [there for _, there in synced] == [False, True]
    assert synced[1][0] == tmp_path.resolve()


def test_a_whole_folder_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "side").mkdir(parents=True)
    (tmp_path / "in" / "side" / "x").write_text("x")
    inodes = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: inodes.append(os.fstat(descriptor).st_ino))
    files.sync(tmp_path / "in")
    assert inodes == [
        p.stat().st_ino for p in (tmp_path / "in/side/x", tmp_path / "in/side", tmp_path / "in")
    ]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "full")])
@pytest.mark.parametrize("where", ["block", "sync", "rename"])
def test_a_folder_that_fails_leaves_the_old_one_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, error: BaseException, where: str
) -> None:
    folder, rename = tmp_path / "it", Path.rename
    if there:
        folder.mkdir()
        (folder / "x").write_text("old")

    def fail(*_: object) -> None:
        raise error

    if where == "sync":
        monkeypatch.setattr(files, "sync", fail)
    if where == "rename":
        monkeypatch.setattr(
            Path, "rename", lambda self, to: fail() if self.suffix == ".partial" else rename(self, to)
        )
    with (
        pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OSError),
        files.appearing(folder, replace=there) as partial,
    ):
        (partial / "x").write_text("new")
        if where == "block":
            fail()
    assert [path.name for path in tmp_path.iterdir()] == (["it"] if there else [])
    assert not there or (folder / "x").read_text() == "old"


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    link, folder = tmp_path / "link", tmp_path / "deep" / "it"
    link.symlink_to(folder)
    for name, at in (("a", folder), ("b", folder), ("c", link)):
        with files.appearing(at, replace=True) as partial:
            (partial / name).write_text(name)
            assert not (folder / name).exists()
        assert [path.name for path in folder.iterdir()] == [name]
        assert list(folder.parent.iterdir()) == [folder] and link.is_symlink()


def test_without_replace_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    with pytest.raises(FileExistsError), files.appearing(tmp_path / "it"):
        raise AssertionError("refused before the work")
    with pytest.raises(FileExistsError), files.appearing(tmp_path / "new"):
        (tmp_path / "new").mkdir()  # by somebody else, meanwhile
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it", "new"]


def test_two_writers_of_one_process_do_not_meet(tmp_path: Path) -> None:
    with files.appearing(tmp_path / "it", replace=True) as one:
        (one / "one").write_text("1")
        with files.appearing(tmp_path / "it", replace=True) as two:
            (two / "two").write_text("2")
    assert [path.name for path in (tmp_path / "it").iterdir()] == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
