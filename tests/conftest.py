"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

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
