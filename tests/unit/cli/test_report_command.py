"""``irkit report``: a finished run's page, made again from its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import pytest
from islands import islands

from irkit.report.details import save_details
from irkit.report.results import save_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = made_up.experiment(queries=8, looked_into=3)
    save_details(made.results, made.funnels, made.details, tmp_path)
    save_results(made.results, made.per_query, tmp_path)
    return tmp_path


def test_the_page_is_made_again(irkit: Callable[..., Any], folder: Path) -> None:
    (folder / "report.html").write_text("an old one", encoding="utf-8")
    ended = irkit("report", folder)
    assert ended.code == 0
    assert "report.html" in ended.out
    found = islands((folder / "report.html").read_text(encoding="utf-8"))
    assert found["main"]["experiment"] == "made-up"
    assert len(found["details-0"]["queries"]) == 3
    assert not (folder / "scores.md").exists()


def test_exports_too(irkit: Callable[..., Any], folder: Path) -> None:
    assert irkit("report", folder, "--exports").code == 0
    names = {path.stem for path in folder.iterdir()}
    assert {"scores", "per_query", "report"} <= names
    assert "relevant documents" in (folder / "scores.md").read_text(encoding="utf-8")


def test_what_is_no_run_is_an_error(irkit: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    ended = irkit("report", tmp_path / "nothing")
    assert ended.code == 2
    assert "there is no such file" in ended.err
    details = (folder / "details.json").read_text(encoding="utf-8")
    (folder / "details.json").write_text(details.replace("2026-03-14", "2025-03-14"), encoding="utf-8")
    ended = irkit("report", folder)
    assert ended.code == 2
    assert "another run" in ended.err


def test_a_folder_of_runs(
    irkit: Callable[..., Any], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        shutil.copytree(folder, runs / name)
    (runs / "notes").mkdir()
    ended = irkit("report", runs, runs / "two")
    assert (ended.code, ended.out.count("report: ")) == (0, 2)
    assert (runs / "one" / "report.html").exists() and (runs / "two" / "report.html").exists()


@pytest.mark.parametrize("command", ["report", "leaderboard"])
def test_a_file_in_place_of_a_folder_is_called_one(irkit: Callable[..., Any], command: str) -> None:
    Path("own.yaml").write_text("name: own\n", encoding="utf-8")
    ended = irkit(command, "own.yaml")
    assert ended.code == 2
    assert "own.yaml" in ended.err and "is a file, not the folder of a run" in ended.err
    assert "eval/runs/own" in ended.err and "permissions" not in ended.err
