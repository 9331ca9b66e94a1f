"""What a run leaves beside its report: metadata in run files, tests as asked, exports, shares of judged hits."""

from __future__ import annotations

import csv
import json
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from islands import islands

from irkit.api import Workspace, run
from irkit.config.experiment import Experiment
from irkit.data.spec import LocalSpec
from irkit.evaluate.runfile import read_run
from irkit.pipeline.registry import make_stage
from irkit.report.results import load_results

pytestmark = pytest.mark.usefixtures("toy_stages")
DATA = LocalSpec(path="data")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    toys.write_beir(tmp_path / "data")
    return Workspace(tmp_path)


def experiment(**changes: Any) -> Experiment:
    toy = make_stage("toy", k=5)
    rest = {
        "collections": [DATA],
        "pipelines": {"one": toy, "two": toy >> make_stage("toy-rerank", bonus=1)},
        "metrics": ["ndcg@2", "recall@2"],
        "baseline": "one",
        **changes,
    }
    return Experiment.of("mine", **rest)


def test_a_run_file_tells_where_it_is_from(workspace: Workspace) -> None:
    asked = experiment(statistics={"test": "wilcoxon", "correction": "bonferroni"})
    _, folder = run(asked, workspace)
    collection = workspace.open(DATA)
    path = folder / "runs" / "data%2Ftest" / "two.trec"
    read = read_run(path, collection)
    header = read.header
    assert header["method"]["retrieval"] == [{"name": "toy", "k": 5}, {"name": "toy-rerank", "bonus": 1}]
    assert header["implementation"]["version"] == version("irkit")
    assert header["platform"]["software"]["python"] == platform.python_version()
    assert f"numpy=={np.__version__}" in header["platform"]["software"]["libraries"]["python"]
    assert header["data"]["test collection"]["fingerprint"] == collection.fingerprint
    assert header["research goal"]["evaluation"] == {
        "reported measures": ["ndcg@2", "recall@2"],
        "baseline": ["one"],
        "significance test": [{"name": "wilcoxon", "correction method": "bonferroni"}],
    }
    assert (header["actor"], header["tag"], header["schema version"]) == ({}, "two", 0.1)
    # the lines that are left are what every other tool reads
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert {len(line.split()) for line in lines} == {6}
    assert len(lines) == len(read.rankings.doc)


def test_a_long_header_is_found_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not written again, however far down the header says which rankings it has."""
    long = {"method": [f"step {number}" for number in range(1000)]}
    monkeypatch.setattr(import_module("irkit.api.run"), "run_metadata", lambda *_: long)
    _, folder = run(experiment(), workspace)
    path = folder / "runs" / "data%2Ftest" / "one.trec"
    assert path.read_text(encoding="utf-8").index("rankings: irkit-") > 4096
    before = path.stat().st_mtime_ns
    run(experiment(), workspace)
    assert path.stat().st_mtime_ns == before


def test_everything_is_written_beside_the_report(workspace: Workspace) -> None:
    asked = experiment(statistics={"test": "randomisation", "pairs": "all", "resamples": 500})
    results, folder = run(asked, workspace)
    read, per_query = load_results(folder)
    assert read.statistics == results.statistics == asked.statistics
    assert "randomisation test" in (folder / "scores.md").read_text(encoding="utf-8")
    shown = islands((folder / "report.html").read_text(encoding="utf-8"))["main"]
    assert all("randomisation test" in each["how"] for each in shown["families"])
    assert r"\begin{tabular}" in (folder / "scores.tex").read_text(encoding="utf-8")
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [
        results.value(row["collection"], row["pipeline"], row["metric"]) for row in rows
    ]
    assert len(rows) == 4
    assert [path.suffix for path in folder.glob("per_query.*")].count(".json") == 1
    assert len(list(folder.glob("per_query.*"))) == 2
    (one,) = per_query
    assert one.judged_at == 2
    assert set(one.values["one"]) == {
        "ndcg@2",
        "recall@2",
    }  # the share of judged hits is no metric of the experiment


def test_the_share_of_judged_hits_is_that_of_the_qrels(workspace: Workspace) -> None:
    run(experiment(), workspace)
    _, (one,) = load_results(workspace.runs / "mine")
    collection, rankings = workspace.rankings(make_stage("toy", k=5), DATA)
    rows = {qid: row for row, qid in enumerate(collection.queries.qid)}
    for qid, share in zip(one.qid, one.judged["one"], strict=True):
        judged = set(collection.qrels[rows[qid]][0].tolist())
        top = rankings[rows[qid]][0][:2].tolist()
        assert share == sum(doc in judged for doc in top) / 2
    assert 0 < np.mean(one.judged["one"]) < 1
    assert "judged@2" in (workspace.runs / "mine" / "scores.md").read_text(encoding="utf-8")


def test_results_from_before_there_were_options_are_read(workspace: Workspace) -> None:
    _, folder = run(experiment(), workspace)
    for name in ("results.json", "per_query.json"):
        data = json.loads((folder / name).read_text(encoding="utf-8"))
        data.pop("statistics", None)
        for each in data["collections"]:
            each.pop("judged", None)
            each.pop("judged_at", None)
        (folder / name).write_text(json.dumps(data), encoding="utf-8")
    results, (one,) = load_results(folder)
    assert (results.statistics.test, results.statistics.corrected) == ("t", "holm")
    assert (one.judged, one.judged_at) == ({}, None)
