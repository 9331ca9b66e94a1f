"""``irkit reference``, and what ``irkit run`` says of published scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irkit.api.published import without_published
from irkit.api.workspace import Workspace
from irkit.config.experiment import Experiment
from irkit.data.published import published

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
    assert "tolerance" not in shown
    shown = irkit("reference", "show", "limit-bm25").out
    assert "tolerance 0.002 on irkit/limit-small, for ties" in shown
    ended = irkit("reference", "show", "anserini-bm25-flt")
    assert (ended.code, "did you mean 'anserini-bm25-flat'?" in ended.err) == (2, True)


def test_a_run_says_match_near_or_off(irkit: Irkit, experiment: Path, ours: None) -> None:
    ended = irkit("run", experiment, "--set", "reference={one: ours}")
    assert ended.code == 0
    assert "published scores: 1 match, 0 near, 1 off" in ended.out
    assert "off: data/test / one / ndcg@10" in ended.out and "published 0.1000 (ours)" in ended.out
    assert "recall@2: 0.4000" not in ended.out
    path = Path("eval/reference/ours.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    data["scores"]["data/test"]["recall@2"] = 0.401
    data["tolerance"] = {"data/test": {"tolerance": 0.002, "reason": "ties"}}
    path.write_text(json.dumps(data), encoding="utf-8")
    ended = irkit("run", experiment, "--set", "reference={one: ours}")
    assert "match, but for ties: data/test / one / recall@2: 0.4000, published 0.4010" in ended.out
    ended = irkit("validate", experiment, "--set", "reference={one: our}")
    assert (ended.code, "did you mean 'ours'?" in ended.err) == (2, True)


def test_names_of_the_list_are_whole_on_a_narrow_terminal(
    irkit: Irkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = irkit("reference", "list").out
    for name in published():
        assert name in listed


def test_published_scores_that_have_nothing_here_are_named(
    irkit: Irkit, experiment: Path, ours: None
) -> None:
    for command in ("run", "validate"):
        ended = irkit(command, experiment, "--set", "reference={one: [ours, anserini-bm25-flat]}")
        assert ended.code == 0
        assert "warning: anserini-bm25-flat has no score for data/test" in ended.out
        assert "warning: ours" not in ended.out
    ended = irkit("validate", experiment, "--set", "reference={one: beir-average-colbertv2}")
    assert "warning: beir-average-colbertv2 has averages only" in ended.out
    found = Experiment.of(
        "x",
        collections=["data/test", "irkit/limit", "irkit/limit-small", "beir/nq", "beir/arguana"],
        metrics=["ndcg@10"],
        pipelines=dict(Workspace(Path.cwd()).load(experiment).pipelines),
        reference={"one": "ours", "two": "limit-bm25"},
    )
    assert without_published(found, published(Path.cwd()), list(found.collections), ["one"]) == [
        "ours has no score for irkit/limit, irkit/limit-small, beir/nq and 1 more"
    ]
    setting = ("--set", "reference={one: ours}", "--set", "metrics=[mrr@3]")
    ended = irkit("validate", experiment, *setting)
    assert "warning: ours has recall@2, ndcg@10 for data/test, none of which" in ended.out
