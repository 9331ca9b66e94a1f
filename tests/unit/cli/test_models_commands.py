"""``irkit models list``, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapting import describe
from rich.console import Console

from irkit.cli import console
from irkit.models.catalogue import catalogue, trained_models
from irkit.models.trained import REPORT

Irkit = Callable[..., Any]


def trained(folder: Path, kind: str = "blockrank", base: str = "irkit/nothing", **report: Any) -> None:
    describe(folder, kind, (base, "0" * 64), {"layer": 3})
    (folder / REPORT).write_text(json.dumps(report))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    sources = ["beir/scifact/train", "beir/scifact/train", {"path": "data/ours", "split": "train"}]
    recipe = {"data": [{"collection": each} for each in sources]}
    trained(tmp_path / "models" / "mine", licence="MIT", recipe=recipe)
    trained(tmp_path / "models" / "two" / "plain", "multivector", licence="free, but for some of it")
    (tmp_path / "models" / "change").mkdir()
    (tmp_path / "models" / "change" / "adapter.json").write_text("{}")
    trained(tmp_path / "models" / ".other.training")
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "irkit_model.json").write_text("{")
    (tmp_path / "models" / "else").mkdir()
    return tmp_path


def test_what_was_trained_is_listed_by_the_name_to_use(workspace: Path) -> None:
    found = {each.entry.name: each for each in trained_models(workspace)}
    assert {name: (each.status, each.entry.kind) for name, each in found.items()} == {
        "models/broken": ("damaged", "llm"),
        "models/change": ("trained", "query side"),
        "models/mine": ("trained", "llm"),
        "models/two/plain": ("trained", "multi-vector"),
    }
    about = found["models/mine"].entry.about
    assert about.startswith("trained for blockrank (layer 3)")
    assert about.endswith("on top of irkit/nothing; in-domain: beir/scifact/train, data/ours")
    assert "stage adapter" in found["models/change"].entry.about
    assert "cannot be read" in found["models/broken"].entry.about
    assert trained_models(workspace / "models" / "else") == []


def test_names_are_whole_on_a_narrow_terminal(
    irkit: Irkit, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Console(width=60, force_terminal=True, no_color=True, highlight=False)
    monkeypatch.setattr(console, "out", lambda: shown)
    with shown.capture() as got:
        irkit("models", "list", "-w", workspace)
    lines = got.get().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    heads = [line.split()[0] for line in lines[:-2] if not line.startswith(" ")]
    assert heads == [*catalogue(), "models/broken", "models/change", "models/mine", "models/two/plain"]
    assert max(len(line) for line in lines if line.startswith(" ")) <= 60
    assert len(lines) < 5 * len(heads)
    (mine,) = [line for line in lines if line.startswith("models/mine")]
    assert mine.split() == ["models/mine", "llm", "trained", "MIT"]
    assert "  licence: free, but for some of it" in lines


def test_a_line_is_whole_where_there_is_no_terminal(irkit: Irkit, workspace: Path) -> None:
    lines = irkit("models", "list", "-w", workspace).out.splitlines()
    assert f"  {catalogue()['minilm'].about}" in lines
    shipped = [line for line in lines if "on top of smollm2" in line]
    assert len(shipped) == 2
    assert all(line.endswith("in-domain: beir/scifact/train, beir/nfcorpus/train") for line in shipped)
