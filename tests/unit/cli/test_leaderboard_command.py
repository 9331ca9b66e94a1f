"""``irkit leaderboard``, and what run and compare say of significance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Irkit = Callable[..., Any]
METRIC = ("--metrics", "mrr")


@pytest.fixture
def compared(irkit: Irkit) -> None:
    queries = [f"q{n:02d}" for n in range(40)]
    Path("data/qrels").mkdir(parents=True)
    Path("data/qrels/test.tsv").write_text("".join(f"{q}\t0\ta\t1\n" for q in queries))
    Path("good.trec").write_text("".join(f"{q} Q0 a 1 2 t\n" for q in queries))
    Path("poor.trec").write_text(
        "".join(f"{q} Q0 {'a' if n % 4 == 0 else 'x'} 1 2 t\n" for n, q in enumerate(queries))
    )


def test_two_folders_and_what_changed(irkit: Irkit, compared: None) -> None:
    qrels = ("--qrels", "data/qrels/test.tsv")
    irkit("compare", "good.trec", *qrels, *METRIC, "-o", "eval/runs/a")
    first = irkit("leaderboard", "eval/runs/a", "--title", "Ours")
    assert (first.code, first.err) == (0, "") and "the first ranking of its kind" in first.out
    assert "<h1><bdi>Ours</bdi></h1>" in Path("eval/leaderboard/leaderboard.html").read_text(encoding="utf-8")
    assert "nothing has changed since" in irkit("leaderboard", "eval/runs/a", "--title", "Ours").out
    irkit("compare", "poor.trec", *qrels, *METRIC, "-o", "eval/runs/b")
    second = irkit("leaderboard", "eval/runs")
    lines = [line.split()[:3] for line in second.out.splitlines() if "trec" not in line]
    assert ["1", "good", "1.0000"] in lines and ["2", "poor", "0.2500"] in lines
    assert "  New rows:\n    poor\n" in second.out


def test_collections_that_no_pipeline_shares_are_told(irkit: Irkit, compared: None) -> None:
    Path("other/qrels").mkdir(parents=True)
    Path("other/qrels/test.tsv").write_text(Path("data/qrels/test.tsv").read_text())
    for run, data in (("good", "data"), ("poor", "other")):
        irkit(
            "compare", f"{run}.trec", "--qrels", f"{data}/qrels/test.tsv", *METRIC, "-o", f"eval/runs/{run}"
        )
    told = " ".join(irkit("leaderboard", "eval/runs").out.split())
    assert "-c data/test ranks 1 pipeline; -c other/test ranks 1." in told
    assert "has a rank" not in irkit("leaderboard", "eval/runs", "-c", "data/test").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("eval/runs/none",), "no such file"),
        (("eval/runs/a", "-m", "nope"), "unknown metric 'nope'"),
        (("eval/runs/a", "-m", "ndcg@10"), "no experiment has the metric 'ndcg@10'"),
        (("eval/runs/a", "-c", "scifact"), "no collection 'scifact'"),
        (("eval/runs/a", "--average", "all"), "no experiment has an average 'all'"),
    ],
)
def test_mistakes(irkit: Irkit, compared: None, options: tuple[str, ...], message: str) -> None:
    irkit("compare", "good.trec", "--qrels", "data/qrels/test.tsv", *METRIC, "-o", "eval/runs/a")
    ended = irkit("leaderboard", *options)
    assert (ended.code, message in ended.err, "->" in ended.err) == (2, True, True)
    assert not Path("eval/leaderboard").exists()


def test_judged_differently(irkit: Irkit, compared: None) -> None:
    qrels = ("--qrels", "data/qrels/test.tsv", *METRIC)
    irkit("compare", "good.trec", *qrels, "-o", "eval/runs/a")
    irkit("compare", "poor.trec", *qrels, "-o", "eval/runs/b", "--policy", "drop_self")
    ended = irkit("leaderboard", "eval/runs/a", "eval/runs/b")
    assert ended.code == 2 and "eval/runs/a/results.json: data/test is judged differently" in ended.err
    assert "eval/runs/b/results.json" in ended.err and "drop_self true" in ended.err


def test_compare_says_what_is_significant(
    irkit: Irkit, compared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("compare", "good.trec", "poor.trec", "--qrels", "data/qrels/test.tsv", *METRIC)
    wide = irkit(*words)
    assert "<0.0001† 0/10/30" in wide.out and "corrected after Holm for 1 pipeline" in wide.out
    monkeypatch.setenv("COLUMNS", "40")
    assert "0/10/30" not in irkit(*words).out
