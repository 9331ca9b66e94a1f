"""A store, and a toy collection to run pipelines on."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import toy_collection

from irkit.data.collection import Collection
from irkit.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return toy_collection(tmp_path / "collection")
