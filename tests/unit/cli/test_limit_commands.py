"""``irkit limit``, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Irkit = Callable[..., Any]
QUICK = ["--beyond", "1", "--iterations", "800", "--patience", "200", "--device", "cpu", "--threads", "1"]

SIZES = """\
name: sizes
collections: ["irkit/limit-synthetic?n=3", "irkit/limit-synthetic?n=3&docs=9"]
metrics: [recall@2]
pipelines:
  one: [toy: {k: 5}]
"""


def test_a_curve_is_found_and_written(irkit: Irkit) -> None:
    ended = irkit("limit", "curve", "--dims", "2..3", "-o", "out", "--model-dims", "4096", *QUICK)
    assert ended.code == 0, ended.err
    said = json.loads(Path("out/curve.json").read_text())
    assert [(p["dim"], p["critical_n"]) for p in said["points"]] == [(2, 3), (3, 4)]
    assert {path.name for path in Path("out").glob("*.*") if path.suffix} >= {
        "curve.csv", "curve.json", "curve.md", "curve.svg", "trials.jsonl",
    }  # fmt: skip
    assert "a model of 4096 dimensions" in ended.out and "written to out" in ended.out
    assert "d=3 n=4: solved" in ended.err
    before = Path("out/trials.jsonl").read_bytes()
    assert irkit("limit", "curve", "--dims", "3,2", "-o", "out", "--model-dims", "4096", *QUICK).code == 0
    assert Path("out/trials.jsonl").read_bytes() == before
    assert json.loads(Path("out/curve.json").read_text()) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dims", "20..4"), "'20..4' is no range of dimensions"),
        (("--dims", "4,x"), "'x' is no range of dimensions"),
        (("--dims", "0"), "'0' is no range of dimensions"),
        (("--dims", ""), "'' is no range of dimensions"),
        (("--model-dims", "-1"), "'-1' is no range of dimensions"),
        (("--pattern", "dens"), "did you mean 'dense'?"),
        (("--device", "gpu"), "there is no device 'gpu'"),
        (("--share", "0"), "share=0.0 is out of range"),
        (("--rate", "-1"), "rate=-1.0 is out of range"),
        (("--k", "5", "--largest", "5"), "k must be less than it"),
        (("-o", "file"), "the output is no folder"),
    ],
)
def test_mistakes_are_named_before_anything_runs(irkit: Irkit, words: tuple[str, ...], said: str) -> None:
    Path("file").write_text("")
    ended = irkit("limit", "curve", "-o", "out", *words)
    assert ended.code == 2 and said in " ".join(ended.err.split())
    assert not Path("out").exists()


@pytest.mark.usefixtures("toy_stages")
def test_growth_reads_a_run_and_names_mistakes(irkit: Irkit) -> None:
    Path("sizes.yaml").write_text(SIZES)
    assert irkit("run", "sizes.yaml").code == 0
    ended = irkit("limit", "growth", "eval/runs/sizes", "-o", "out", "-m", "recall@2")
    assert ended.code == 0, ended.err
    assert {path.name for path in Path("out").iterdir()} == {"growth.md", "growth.csv", "growth.svg"}
    assert "| `one` |" in Path("out/growth.md").read_text() and "written to out" in ended.out
    for words, said in (
        (("-m", "map", "-o", "out"), "no score of map"),
        (("-m", ",", "-o", "out"), "no metric is named"),
        (("-o", "sizes.yaml"), "the output is no folder"),
    ):
        ended = irkit("limit", "growth", "eval/runs/sizes", *words)
        assert ended.code == 2 and said in " ".join(ended.err.split())
