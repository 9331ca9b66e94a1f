"""``irkit compare``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Irkit = Callable[..., Any]


@pytest.fixture
def runs(irkit: Irkit) -> tuple[str, str]:
    Path("qrels.txt").write_text("q1 0 a 2\nq2 0 b 1\n")
    Path("ours.trec").write_text("q1 Q0 a 1 2 t\nq2 Q0 q2 1 9 t\nq2 Q0 b 2 1 t\n")
    Path("theirs.trec").write_text("q1 Q0 x 1 2 t\nq1 Q0 a 2 2 t\n")
    return "ours.trec", "them=theirs.trec"


def scores(folder: str = "eval/runs/compare") -> dict[tuple[str, str], float]:
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    return {(each["pipeline"], each["metric"]): each["value"] for each in results["scores"]}


def test_scores_warnings_and_files(irkit: Irkit, runs: tuple[str, str]) -> None:
    ended = irkit("compare", *runs, "--qrels", "qrels.txt", "--metrics", "mrr, P@1")
    assert (ended.code, ended.err) == (0, "")
    assert "ours (baseline)" in ended.out and "0.7500" in ended.out
    assert (
        "warning: qrels: judged query that a run lacks (it counts 0): 1, the first at them: 'q2'" in ended.out
    )
    assert "report: eval/runs/compare/report.html" in ended.out
    assert scores() == {
        ("ours", "mrr"): 0.75,
        ("ours", "precision@1"): 0.5,
        ("them", "mrr"): 0.25,
        ("them", "precision@1"): 0.0,
    }
    for name in ("per_query.json", "report.html", "scores.md"):
        assert Path("eval/runs/compare", name).is_file()


def test_the_protocol_by_options(irkit: Irkit, runs: tuple[str, str]) -> None:
    Path("out.tsv").write_text("q1\tx\n")
    common = ("compare", *runs, "--qrels", "qrels.txt", "-m", "mrr", "-o", "out", "-b", "them")
    irkit(*common, "--policy", "drop_self", "--exclude", "out.tsv")
    assert scores("out") == {("ours", "mrr"): 1.0, ("them", "mrr"): 0.5}
    irkit(*common, "--policy", "drop_self", "--policy", "relevance_level=2", "--ties", "rank")
    assert scores("out") == {("ours", "mrr"): 0.5, ("them", "mrr"): 0.25}
    results = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    policy = {"drop_self": True, "macro": None, "relevance_level": 2, "ties": "rank"}
    assert (results["baseline"], results["collections"][0]["policy"]) == ("them", policy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "drop_slef"), "--policy drop_slef: a policy has no 'drop_slef'"),
        (("--policy", "relevance_level=0"), "--policy relevance_level: Input should be greater"),
        (("--metrics", "nope@3"), "unknown metric 'nope@3'"),
        (("--baseline", "x"), "no run is called 'x'"),
    ],
)
def test_options_that_mean_nothing(
    irkit: Irkit, runs: tuple[str, str], options: tuple[str, str], message: str
) -> None:
    ended = irkit("compare", *runs, "--qrels", "qrels.txt", *options)
    assert (ended.code, message in ended.err, "->" in ended.err) == (2, True, True)
    assert not Path("eval").exists()


def test_a_wrong_metric_and_a_wrong_baseline_are_told_at_once(irkit: Irkit, runs: tuple[str, str]) -> None:
    ended = irkit("compare", *runs, "--qrels", "qrels.txt", "-m", "ndgc@10,mrr", "-b", "our")
    assert ended.code == 2
    assert "did you mean 'ndcg@10'?" in ended.err and "did you mean 'ours'?" in ended.err


def test_a_bad_line_is_named(irkit: Irkit, runs: tuple[str, str]) -> None:
    Path("ours.trec").write_text("q1 Q0 a 1 2 t\nq1 Q0 b 2 nan t\n")
    ended = irkit("compare", *runs, "--qrels", "qrels.txt")
    assert ended.code == 2 and "ours.trec:2: 'nan' is not a finite score" in ended.err
    assert not Path("eval").exists()
