"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import toys

from irkit.pipeline import registry

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test collections; tests that need it are skipped where it is absent."""
    here = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("IRKIT_TEST_DATA", here.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test collections at {folder} (set IRKIT_TEST_DATA)")
    return folder


@pytest.fixture
def toy_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Register the toy stages for one test, and return the file in which they write down their calls."""
    path = tmp_path / "toy.log"
    monkeypatch.setenv(toys.LOG, str(path))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    toys.register_all()
    return path


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def irkit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run the command line in this process, in a folder of its own; one that raises anything but an exit has a bug."""
    from irkit.cli.app import main

    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("IRKIT_STORE", raising=False)

    def call(*words: object) -> Ended:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        shown = capsys.readouterr()
        return Ended(int(caught.value.code or 0), shown.out, shown.err)

    return call
