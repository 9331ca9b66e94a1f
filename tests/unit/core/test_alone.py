"""A folder that one process writes at a time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from irkit.core.alone import alone
from irkit.core.errors import ReportError


def test_others_wait(tmp_path: Path) -> None:
    folder, order = tmp_path / "a" / "b", []

    def other() -> None:
        with alone(folder, ".lock"):
            order.append("other")

    with alone(folder, ".lock"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    assert [path.name for path in folder.iterdir()] == [".lock"], "nothing else is left"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ReportError, match="the folder cannot be written") as caught,
        alone(tmp_path / "file" / "folder", ".lock"),
    ):
        pass
    assert caught.value.problems[0].where == str(tmp_path / "file" / "folder")


def test_a_folder_that_was_writable_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(tmp_path, ".lock"):
        pass

    def refused(**_: object) -> object:  # what a chmod does, but for root
        raise PermissionError(13, os.strerror(13))

    with monkeypatch.context() as patched:
        patched.setattr("irkit.core.alone.TemporaryFile", refused)
        with pytest.raises(ReportError, match="Permission denied"), alone(tmp_path, ".lock"):
            pytest.fail("it must not begin")
    with alone(tmp_path, ".lock"):
        pass
