"""A run with explanations and an order control, from the experiment to the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toys
from islands import islands

from irkit.api import Workspace, run
from irkit.api.explained import MOST_PIECES
from irkit.config.experiment import Experiment
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage
from irkit.report.results import load_results

pytestmark = pytest.mark.usefixtures("toy_stages")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    toys.write_beir(tmp_path / "data")
    return Workspace(tmp_path)


def experiment(**options: object) -> Experiment:
    toy = make_stage("toy", k=5)
    return Experiment.of(
        "mine",
        collections=[LocalSpec(path="data")],
        pipelines={"one": toy, "look": toy >> make_stage("toy-look", **options), "last": toy},
        metrics=["ndcg@10"],
        baseline="one",
    )


def test_both_orders_are_on_the_board(workspace: Workspace) -> None:
    results, folder = run(experiment(order_control=0, first=10.0, explanations=2), workspace)
    assert list(results.pipelines) == ["one", "look", "look (shuffled)", "last"]
    assert results.controls == {"look (shuffled)": "look"}
    plain, shuffled = (results.value("data/test", name, "ndcg@10") for name in ("look", "look (shuffled)"))
    assert plain != shuffled  # the toy prefers the first candidate
    assert (folder / "runs" / "data%2Ftest" / "look (shuffled).trec").is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert (
        page.index("<bdi>look</bdi>")
        < page.index("<bdi>look (shuffled)</bdi>")
        < page.index("<bdi>last</bdi>")
    )
    written = (folder / "experiment.yaml").read_text(encoding="utf-8")
    assert "(shuffled)" not in written
    again, _ = run(folder / "experiment.yaml", workspace)
    assert again.scores == results.scores
    assert again.from_store


def test_explanations_are_kept_and_shown(workspace: Workspace) -> None:
    results, folder = run(experiment(explanations=2), workspace)
    _, (per_query,) = load_results(folder)
    assert [(each.pipeline, each.qid, each.query) for each in per_query.explained] == [
        ("look", "q1", "a b"),
        ("look", "q2", "c d"),
    ]
    best = per_query.explained[1].documents[0]
    assert len(per_query.explained[0].documents) == 3
    assert (best.docno, "".join(best.pieces), best.weights) == ("d6", "c c c d", [1, 1, 1, 1])
    shown = islands((folder / "report.html").read_text(encoding="utf-8"))["details-0"]["explained"]
    assert [(each["pipeline"], each["qid"]) for each in shown] == [("look", "q1"), ("look", "q2")]
    assert "".join(text for text, _, _ in shown[1]["documents"][0]["spans"]) == "c c c d"
    runs = toys.calls("run", "toy-look")
    again, _ = run(experiment(), workspace)
    assert again.scores == results.scores
    assert (
        toys.calls("run", "toy-look") == runs
    )  # asking for explanations, or no longer, computes nothing anew
    assert not islands((folder / "report.html").read_text(encoding="utf-8"))["details-0"]["explained"]


def test_they_name_the_rank_before_and_the_judgement(workspace: Workspace) -> None:
    lines = ["query-id\tcorpus-id\tscore", "q2\td6\t2", "q2\td3\t0", "q5\td1\t1"]
    (workspace.root / "data" / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, folder = run(experiment(explanations=2, first=-10.0), workspace)
    _, (per_query,) = load_results(folder)
    toy, look = (
        [line.split()[2] for line in text.splitlines() if line.startswith("q2 ")]
        for text in (
            (folder / "runs" / "data%2Ftest" / f"{name}.trec").read_text(encoding="utf-8")
            for name in ("one", "look")
        )
    )
    (of_q2,) = (each for each in per_query.explained if each.qid == "q2")
    assert [each.docno for each in of_q2.documents] == look[:3] != toy[:3]
    assert [each.before for each in of_q2.documents] == [toy.index(docno) + 1 for docno in look[:3]]
    gains = {"d6": 2, "d3": 0}
    assert [each.gain for each in of_q2.documents] == [gains.get(docno) for docno in look[:3]]
    assert {each.gain for of_query in per_query.explained for each in of_query.documents} >= {0, None}


def test_endless_documents_and_halves_of_characters(workspace: Workspace) -> None:
    text = "a \ud83d " + "b " * 5000
    line = json.dumps({"_id": "d1", "text": text})
    (workspace.root / "data" / "corpus.jsonl").write_text(line + "\n", encoding="utf-8")
    _, folder = run(experiment(explanations=1), workspace)
    _, (per_query,) = load_results(folder)
    (document,) = per_query.explained[0].documents
    assert (len(document.pieces), document.more) == (MOST_PIECES, 5002 - MOST_PIECES)
    assert document.pieces[:2] == ["a", " \N{REPLACEMENT CHARACTER}"]
