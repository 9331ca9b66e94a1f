"""The curve: searched, kept, continued, and written."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from irkit.core.errors import ConfigError
from irkit.theory import curve as module
from irkit.theory.curve import Curve, CurveSettings, Point, trace
from irkit.theory.free_embeddings import Optimiser, Trial
from irkit.theory.polynomial import PAPER
from irkit.theory.written import to_dict, write_curve

QUICK = Optimiser(iterations=800, patience=200)
SETTINGS = CurveSettings(starts=3, beyond=1, optimiser=QUICK)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def timeless(curve: Curve) -> Any:
    said = to_dict(curve)
    for point in said["points"]:
        del point["seconds"]
        for size in point["tried"]:
            for trial in size["trials"]:
                del trial["seconds"]
    return said


def test_small_dimensions_end_where_geometry_says(tmp_path: Path) -> None:
    found = trace([2, 3], SETTINGS, tmp_path, device="cpu")
    assert [(p.dim, p.critical, p.capped) for p in found.points] == [(2, 3, False), (3, 4, False)]
    for point in found.points:
        sizes = {n: trials for n, _, trials in point.tried}
        assert any(trial.solved for trial in sizes[point.critical or 0])
        assert not any(trial.solved for trial in sizes[(point.critical or 0) + 1])
        assert len(sizes[(point.critical or 0) + 1]) == 3  # all starts must fail
        assert all(m == math.comb(n, 2) for n, m, _ in point.tried)


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = module.solve, list[tuple[int, int, tuple[int, ...]]]()

    def counted(relevant: Any, n: int, dim: int, seeds: Any, *rest: Any) -> Any:
        if len(calls) == 3 and not resumed:
            raise KeyboardInterrupt
        calls.append((dim, n, tuple(seeds)))
        return real(relevant, n, dim, seeds, *rest)

    resumed = False
    monkeypatch.setattr(module, "solve", counted)
    with pytest.raises(KeyboardInterrupt):
        trace([2, 3], SETTINGS, tmp_path / "a", device="cpu")
    with (tmp_path / "a" / "trials.jsonl").open("a") as file:
        file.write('{"torn": ')  # as a killed process may leave it
    resumed = True
    again = trace([2, 3], SETTINGS, tmp_path / "a", device="cpu")
    assert len(calls) == len(set(calls))  # nothing twice
    finished = len(calls)
    assert to_dict(trace([2, 3], SETTINGS, tmp_path / "a", device="cpu")) == to_dict(again)
    assert len(calls) == finished
    assert timeless(trace([2, 3], SETTINGS, tmp_path / "b", device="cpu")) == timeless(again)


def test_other_settings_are_other_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    def solve(_: Any, n: int, dim: int, seeds: Any, *rest: Any) -> list[Trial]:
        calls.append(n)
        return [Trial(seed, n <= 4, "solved" if n <= 4 else "stalled", 50, 1.0, n - 4, 0.1) for seed in seeds]

    monkeypatch.setattr(module, "solve", solve)
    others = [
        replace(SETTINGS, seed=9),
        replace(SETTINGS, k=3),
        replace(SETTINGS, optimiser=replace(QUICK, rate=0.1)),
        replace(SETTINGS, pattern="cycle"),
        replace(SETTINGS, pattern="random", share=0.5),
        replace(SETTINGS, pattern="random", share=0.6),
    ]
    for settings in [SETTINGS, *others]:
        calls.clear()
        trace([3], settings, tmp_path, device="cpu")
        assert calls, settings
    calls.clear()
    trace([3], SETTINGS, tmp_path, device="cpu")
    assert not calls


def test_patterns_have_their_queries() -> None:
    dense, random = CurveSettings(), CurveSettings(pattern="random", share=0.5)
    assert dense.relevant(9).shape == (36, 2)
    assert random.relevant(9).shape == (18, 2)
    assert {tuple(row) for row in random.relevant(9)} < {tuple(row) for row in dense.relevant(9)}
    np.testing.assert_array_equal(random.relevant(9), random.relevant(9))
    assert (random.relevant(9) != replace(random, seed=1).relevant(9)).any()
    assert CurveSettings(pattern="cycle").relevant(4).tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert CurveSettings(pattern="disjoint", k=3).relevant(7).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_easy_patterns_reach_the_largest_size(tmp_path: Path) -> None:
    """Two dimensions hold a cycle of any length, on a circle."""
    for pattern in ("cycle", "disjoint"):
        settings = replace(SETTINGS, pattern=pattern, largest=6, optimiser=Optimiser(iterations=10_000))
        (point,) = trace([4], settings, tmp_path, device="cpu").points
        assert (point.critical, point.capped) == (6, True)


def ending(monkeypatch: pytest.MonkeyPatch, most: int, steps: int) -> list[tuple[int, list[int]]]:
    """Let every start solve up to ``most`` documents and stall after ``steps``, and return the list of (n, seeds) of the calls."""
    calls = list[tuple[int, list[int]]]()

    def solve(relevant: Any, n: int, dim: int, seeds: Any, *rest: Any) -> list[Trial]:
        calls.append((n, list(seeds)))
        ok = n <= most
        return [
            Trial(s, ok, "solved" if ok else "stalled", 50 if ok else steps, 1.0, 1, 1e-3 if ok else None)
            for s in seeds
        ]

    monkeypatch.setattr(module, "solve", solve)
    return calls


def test_failures_in_haste_leave_a_point_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, 40, QUICK.patience + 2 * QUICK.every)
    dims = [8, 9, 10, 11, 12]
    found = trace(dims, SETTINGS, tmp_path / "a", device="cpu")
    assert all(p.critical == 40 and p.hasty and p.open and not p.capped for p in found.points)
    assert found.own is None and found.points[0].says() == "at least 40"
    write_curve(found, tmp_path)
    page = (tmp_path / "curve.md").read_text()
    assert "At d = 8, 9, 10, 11, 12 every start" in page and "200 steps\nwithout progress" in page
    assert (tmp_path / "curve.svg").read_text().count('class="open"') == 5 + 1  # and one in the legend
    ending(monkeypatch, 40, QUICK.patience + 2 * QUICK.every + 1)
    found = trace(dims, SETTINGS, tmp_path / "b", device="cpu")
    assert not any(p.open for p in found.points) and found.own is not None


def test_large_starts_take_a_gpu_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ending(monkeypatch, 16, 5000)
    monkeypatch.setattr(module, "_TOGETHER", math.comb(17, 2) * 17)
    trace([6], SETTINGS, tmp_path, device="cuda")
    assert (16, [0, 1, 2]) in calls and (17, [0, 1, 2]) in calls
    calls.clear()
    monkeypatch.setattr(module, "_TOGETHER", math.comb(17, 2) * 17 - 1)
    trace([7], SETTINGS, tmp_path, device="cuda")
    assert [seeds for n, seeds in calls if n == 17] == [[0], [1], [2]] and (16, [0, 1, 2]) in calls


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: CurveSettings(k=0), "k"),
        (lambda: CurveSettings(share=1.5), "share"),
        (lambda: CurveSettings(starts=0), "starts"),
        (lambda: CurveSettings(largest=2), "largest"),
        (lambda: CurveSettings(beyond=0), "beyond"),
        (lambda: CurveSettings(optimiser=Optimiser(rate=0)), "rate"),
        (lambda: CurveSettings(optimiser=Optimiser(temperature=float("nan"))), "temperature"),
        (lambda: trace([0], SETTINGS, Path("x"), device="cpu"), "dims"),
        (lambda: trace([], SETTINGS, Path("x"), device="cpu"), "dims"),
    ],
)
def test_what_cannot_be_searched_is_refused(make: Callable[[], object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.problems[0].where == where


def made(settings: CurveSettings = SETTINGS, capped: bool = False) -> Curve:
    def point(dim: int) -> Point:
        n = round(PAPER(dim)) + 2
        trial = Trial(0, True, "solved", 50, 1.0, 0, 1e-3, 2.0)
        return Point(dim, n, capped, 1e-3, ((n, 1, (trial,)),))

    none = Point(99, None, False, None, ())
    return Curve(settings, "cpu", (*(point(dim) for dim in range(4, 13)), none), (384, 4096))


def test_the_files_say_the_same(tmp_path: Path) -> None:
    curve = made()
    assert {path.name for path in write_curve(curve, tmp_path)} == {
        "curve.json", "curve.csv", "curve.md", "curve.svg",
    }  # fmt: skip
    said = json.loads((tmp_path / "curve.json").read_text())
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    page = (tmp_path / "curve.md").read_text()
    for point, of_json, row in zip(curve.points, said["points"], rows, strict=True):
        assert of_json["critical_n"] == point.critical
        assert row["critical_n"] == ("" if point.critical is None else str(point.critical))
        told = "none" if point.critical is None else str(point.critical)
        assert re.search(rf"^\| {point.dim} \| {told} \|", page, re.M)
    assert said["paper"]["coefficients"] == [-10.5322, 4.0309, 0.052, 0.0037]
    assert curve.own is not None and curve.own(8) == pytest.approx(PAPER(8) + 2, abs=0.5)
    assert f"| 4096 | {round(PAPER(4096)):,} |" in page
    assert "2601.20844" in page and "512 documents in float64" in page
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_chart_is_well_formed_and_places_points_upwards(tmp_path: Path) -> None:
    write_curve(made(), tmp_path)
    root = ElementTree.parse(tmp_path / "curve.svg").getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    marks = [each for each in root.findall(".//s:circle", space) if each.find("s:title", space) is not None]
    assert len(marks) == 9  # one had no critical n
    xs, ys = ([float(mark.attrib[axis]) for mark in marks] for axis in ("cx", "cy"))
    assert xs == sorted(xs) and ys == sorted(ys, reverse=True)
    assert {each.attrib["class"] for each in root.findall("s:path", space)} >= {"paper", "own"}
    assert (
        not root.findall(".//s:script", space)
        and "http" not in (tmp_path / "curve.svg").read_text().split(">", 1)[1]
    )


def test_the_papers_cubic_is_only_shown_beside_its_own_setting(tmp_path: Path) -> None:
    for settings in (replace(SETTINGS, pattern="cycle"), replace(SETTINGS, k=3)):
        curve = made(settings, capped=True)
        assert curve.paper is None and curve.own is None  # a capped point is no critical n
        write_curve(curve, tmp_path)
        page = (tmp_path / "curve.md").read_text()
        assert "at least" in page and "Paper:" not in page
        assert 'class="paper"' not in (tmp_path / "curve.svg").read_text()


def test_a_cubic_that_bends_down_places_no_model() -> None:
    points = [Point(dim, n, False, None, ()) for dim, n in zip(range(4, 9), (9, 20, 29, 36, 40), strict=True)]
    found = Curve(replace(SETTINGS, pattern="random"), "cpu", tuple(points), (6, 4096))
    assert found.own is not None and found.own(4096) < 0
    assert [row["own"] for row in found.standing()] == [29, None]
