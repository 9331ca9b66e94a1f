"""A run with query stages, from the experiment to the page."""

from __future__ import annotations

import json
from pathlib import Path

import changing
import numpy as np
import pytest
import toys
from islands import islands

from irkit.api import Workspace, run
from irkit.api.changed import CHARACTERS, LINES, SHOWN, TERMS, most_moved
from irkit.config.experiment import Experiment
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage
from irkit.report.results import ChangedQuery, load_results


@pytest.fixture
def workspace(tmp_path: Path, toy_stages: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    monkeypatch.setattr(changing.CUT, changing.cut)
    changing.register_changing()
    toys.write_beir(tmp_path / "data")
    return Workspace(tmp_path)


def experiment(baseline: str | None = "one", **options: object) -> Experiment:
    toy = make_stage("toy", k=5)
    expanded = make_stage("toy-expand", **options) >> make_stage("toy-taker", k=5)
    look = make_stage("toy-look", order_control=1)
    return Experiment.of(
        "mine",
        collections=[LocalSpec(path="data")],
        pipelines={
            "one": toy,
            "expanded": expanded,
            "rewritten": make_stage("toy-rewrite", add="a") >> toy >> look,
        },
        metrics=["ndcg@10", "recall@1"],
        baseline=baseline,
    )


def changed(folder: Path, pipeline: str) -> list[ChangedQuery]:
    _, (per_query,) = load_results(folder)
    return [each for each in per_query.changed if each.pipeline == pipeline]


def test_the_queries_that_moved_most_are_kept_and_shown(workspace: Workspace) -> None:
    _, folder = run(experiment(add="a"), workspace)
    _, (per_query,) = load_results(folder)
    assert {each.pipeline for each in per_query.changed} == {"expanded", "rewritten"}  # not its order control
    assert {each.metric for each in per_query.changed} == {"ndcg@10"}
    found = changed(folder, "expanded")
    moved = {
        qid: ours - base
        for qid, ours, base in zip(
            per_query.qid,
            per_query.values["expanded"]["ndcg@10"],
            per_query.values["one"]["ndcg@10"],
            strict=True,
        )
        if ours != base
    }
    assert moved
    assert {each.qid: each.delta for each in found} == moved
    deltas = [each.delta or 0.0 for each in found]
    losses = [each for each in deltas if each < 0]
    assert deltas == sorted(losses) + sorted((each for each in deltas if each > 0), reverse=True)
    (of_q2,) = (each for each in found if each.qid == "q2")
    (step,) = of_q2.steps
    assert (of_q2.query, step.stage, step.text, step.told) == (
        "c d",
        "toy-expand (add=a)",
        "c d",
        ["added a"],
    )
    assert [(each.term, each.weight, each.original) for each in step.terms] == [
        ("a", 2.0, False),
        ("c", 1.0, True),
        ("d", 1.0, True),
    ]
    (of_q2,) = (each for each in changed(folder, "rewritten") if each.qid == "q2")
    assert (of_q2.query, of_q2.steps[0].before, of_q2.steps[0].text) == ("c d", "c d", "c d a")
    shown = islands((folder / "report.html").read_text(encoding="utf-8"))["details-0"]["changed"]
    (q2,) = (each for each in shown if each["qid"] == "q2" and each["pipeline"] == "rewritten")
    assert ["a", True] in q2["steps"][0]["words"]
    again, _ = run(experiment(add="a"), workspace)
    assert again.from_store
    assert changed(folder, "expanded") == found


def test_without_a_baseline_it_is_the_first_queries(workspace: Workspace) -> None:
    _, folder = run(experiment(None), workspace)
    found = changed(folder, "expanded")
    assert [(each.qid, each.delta, each.metric) for each in found] == [
        (qid, None, None) for qid in list(toys.QUERIES)[:SHOWN]
    ]


def test_a_run_without_query_stages_has_no_section(workspace: Workspace) -> None:
    toy = make_stage("toy", k=5)
    plain = Experiment.of(
        "mine", collections=[LocalSpec(path="data")], pipelines={"one": toy}, metrics=["ndcg@10"]
    )
    _, folder = run(plain, workspace)
    assert not changed(folder, "one")
    assert not islands((folder / "report.html").read_text(encoding="utf-8"))["details-0"]["changed"]


def test_what_is_kept_of_a_query_has_an_end(workspace: Workspace) -> None:
    query = "a \ud83d " + " ".join(f"w{i}" for i in range(2000))
    line = json.dumps({"_id": "q1", "text": query})
    (workspace.root / "data" / "queries.jsonl").write_text(line + "\n", encoding="utf-8")
    (workspace.root / "data" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t1\n", encoding="utf-8"
    )
    _, folder = run(experiment(add="e"), workspace)
    (found,) = changed(folder, "expanded")
    (step,) = found.steps
    assert found.query.startswith("a \N{REPLACEMENT CHARACTER} w0 ")
    assert len(found.query) == len(step.text) == CHARACTERS + 2
    assert (len(step.terms), step.more) == (TERMS, 2003 - TERMS)
    assert len(step.told) <= LINES


def test_the_greatest_losses_come_before_the_greatest_gains() -> None:
    deltas = np.array([0.1, -0.2, 0.0, 0.3, -0.4, 0.3, 1e-12])
    assert most_moved(deltas, 2) == [4, 1, 3, 5]
    assert most_moved(deltas, 1) == [4, 3]
    assert most_moved(deltas, 9) == [4, 1, 3, 5, 0]
    assert most_moved(np.zeros(7), 3) == [0, 1, 2]
    assert most_moved(np.zeros(0), 3) == []
