"""A small experiment to give commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys

TEXT = """\
name: first
collections: [{path: data}]
metrics: [ndcg@10, recall@2]
pipelines:
  one: [toy: {k: 5}]
  two: [toy: {k: 5}, toy-rerank]
baseline: one
"""


@pytest.fixture
def experiment(irkit: Callable[..., Any]) -> Path:
    toys.write_beir(Path("data"))
    path = Path("first.yaml")
    path.write_text(TEXT, encoding="utf-8")
    return path
