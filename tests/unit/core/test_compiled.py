from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from irkit.core import compiled


def test_a_folder_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert compiled.prepare_cache() is None
    assert os.environ["NUMBA_CACHE_DIR"] == "/somewhere"


def test_a_writable_package_folder_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled, "_writable", lambda folder: True)
    assert compiled.prepare_cache() is None
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_read_only_package_folder_gives_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "numba", raising=False)
    monkeypatch.setattr(compiled, "_writable", lambda folder: "ranx" not in folder.parts)
    assert compiled.prepare_cache() == tmp_path / "irkit" / "numba"
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "irkit" / "numba")


def test_no_writable_home_gives_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made below a file
    monkeypatch.delitem(__import__("sys").modules, "numba", raising=False)
    monkeypatch.setattr(compiled, "_writable", lambda folder: False)
    folder = compiled.prepare_cache()
    assert folder is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
