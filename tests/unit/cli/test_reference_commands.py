"""``irkit reference``, and what ``irkit run`` says of published scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]


@pytest.fixture
def ours() -> None:
    folder = Path("eval/reference")
    folder.mkdir(parents=True)
    data = {
        "name": "ours",
        "title": "Our [red]BM25",
        "source": {"url": "https://example.org", "citation": "Us", "version": "1", "date": "2026"},
        "decimals": 4,
        "scores": {"data/test": {"recall@2": 0.4, "ndcg@10": 0.1}},
    }
    (folder / "ours.json").write_text(json.dumps(data), encoding="utf-8")


def test_list_and_show(irkit: Irkit, ours: None) -> None:
    listed = irkit("reference", "list").out
    assert "anserini-bm25-flat" in listed and "Our [red]BM25" in listed and "average only" in listed
    shown = irkit("reference", "show", "ours").out
    assert "https://example.org" in shown and "0.4000" in shown
    ended = irkit("reference", "show", "anserini-bm25-flt")
    assert (ended.code, "did you mean 'anserini-bm25-flat'?" in ended.err) == (2, True)


def test_a_run_says_match_near_or_off(irkit: Irkit, experiment: Path, ours: None) -> None:
    ended = irkit("run", experiment, "--set", "reference={one: ours}")
    assert ended.code == 0
    assert "published scores: 1 match, 0 near, 1 off" in ended.out
    assert "off: data/test / one / ndcg@10" in ended.out and "published 0.1000 (ours)" in ended.out
    assert "recall@2: 0.4000" not in ended.out
    ended = irkit("validate", experiment, "--set", "reference={one: our}")
    assert (ended.code, "did you mean 'ours'?" in ended.err) == (2, True)
