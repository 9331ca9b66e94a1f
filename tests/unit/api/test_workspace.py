"""The Python interface: run, plan, rankings and search in a workspace."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import toys

import irkit as package
from irkit.api import Workspace, run
from irkit.api.written_runs import write_run_file
from irkit.config.experiment import Experiment, load_experiment
from irkit.core.errors import ConfigError
from irkit.data.spec import LocalSpec
from irkit.exec.executor import Executor
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage

pytestmark = pytest.mark.usefixtures("toy_stages")
DATA = LocalSpec(path="data")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    toys.write_beir(tmp_path / "data")
    return Workspace(tmp_path)


def experiment(**changes: object) -> Experiment:
    toy = make_stage("toy", k=5)
    rest = {
        "collections": [DATA],
        "pipelines": {"one": toy, "two": toy >> make_stage("toy-rerank")},
        "metrics": ["ndcg@10", "recall@2"],
        **changes,
    }
    return Experiment.of("mine", **rest)  # type: ignore[arg-type]


def test_search_gives_ids_and_scores(workspace: Workspace) -> None:
    found = workspace.search(make_stage("toy", k=2), DATA, "c d", "zzz")
    assert found == [[("d6", 2.0), ("d3", 2.0)], []]


def test_a_search_sees_the_queries_of_a_query_stage(workspace: Workspace) -> None:
    """Against what the same words find when they are typed; what stands before the query stage sees the typed ones."""
    toy, words = make_stage("toy", k=3), make_stage("toy-words", add="e")
    plain = workspace.search(toy, DATA, "c d")
    assert workspace.search(words >> toy, DATA, "c d") == workspace.search(toy, DATA, "c d e") != plain
    feedback = workspace.search(toy >> make_stage("toy-feedback") >> toy, DATA, "e")
    assert feedback == workspace.search(toy, DATA, "e a e") != workspace.search(toy, DATA, "e")


def test_rankings_are_kept(workspace: Workspace) -> None:
    collection, rankings = workspace.rankings(make_stage("toy"), DATA)
    assert len(rankings) == len(collection.queries) == 5
    assert workspace.rankings(make_stage("toy"), DATA)[1] == rankings
    assert toys.calls("run") == 1


def test_a_run_writes_what_it_returns(workspace: Workspace) -> None:
    results, folder = run(experiment(), workspace, command=["irkit", "run", "mine.yaml"])
    assert folder == workspace.root / "eval" / "runs" / "mine"
    assert results.value("data/test", "one", "recall@2") == pytest.approx(2 / 5)
    written = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert written == json.loads(results.model_dump_json())
    assert load_experiment(folder / "experiment.yaml") == experiment()
    assert {path.name for path in folder.iterdir()} >= {
        "results.json",
        "per_query.json",
        "details.json",
        "report.html",
        "runs",
    }
    per_query = json.loads((folder / "per_query.json").read_text(encoding="utf-8"))
    (values,) = [c["values"]["one"]["recall@2"] for c in per_query["collections"]]
    assert values == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_a_run_from_a_file_with_settings(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(experiment().to_yaml(), encoding="utf-8")
    results, _ = run(path, workspace, settings=["pipelines.one.toy.k=1"])
    assert results.value("data/test", "one", "recall@2") == 0
    assert results.pipelines["one"] == [{"toy": {"k": 1}}]


def test_stage_times_say_what_was_there_before(workspace: Workspace) -> None:
    for stored in (0, 5):
        results, _ = run(experiment(), workspace)
        assert {(s.pipeline, s.stage, s.queries, s.cached_queries) for s in results.stages} == {
            ("one", "toy", 5, stored),
            ("two", "toy", 5, stored),
            ("two", "toy-rerank", 5, stored),
        }


def test_run_files_are_written_anew_only_when_their_rankings_changed(workspace: Workspace) -> None:
    _, folder = run(experiment(), workspace)
    paths = {name: folder / "runs" / "data%2Ftest" / f"{name}.trec" for name in ("one", "two")}
    before = {name: (path.stat().st_mtime_ns, path.read_text()) for name, path in paths.items()}
    toy = make_stage("toy", k=5)
    run(experiment(pipelines={"one": toy, "two": toy >> make_stage("toy-rerank", bonus=1)}), workspace)
    after = {name: (path.stat().st_mtime_ns, path.read_text()) for name, path in paths.items()}
    assert after["one"] == before["one"]
    assert after["two"][1] != before["two"][1]


def test_run_files_are_written_anew_after_queries_were_added(workspace: Workspace) -> None:
    _, folder = run(experiment(), workspace)
    path = folder / "runs" / "data%2Ftest" / "one.trec"
    assert "q9 Q0" not in path.read_text()
    toys.write_beir(workspace.root / "data", queries={**toys.QUERIES, "q9": "c d"})
    run(experiment(), workspace)
    assert "q9 Q0 d6 1 2 one" in path.read_text()


def test_the_marker_of_a_run_file_tells_query_sets_apart(workspace: Workspace) -> None:
    """Also when the collection's fingerprint is the same, as of a collection of fewer queries by an option."""
    opened = workspace.open(DATA)
    node = Pipeline.of(make_stage("toy", k=5)).graph()
    texts = []
    for rows in ([0, 1], [0, 1, 2, 3, 4]):
        part = replace(opened, queries=opened.queries.take(rows))
        executor = Executor(workspace.context(part), [node])
        write_run_file(workspace.runs, "c", "one", executor, node, part)
        texts.append((workspace.runs / "runs" / "c" / "one.trec").read_text())
    assert "q5 Q0" not in texts[0]
    assert "q5 Q0" in texts[1]


def test_run_files_of_what_was_renamed_or_dropped_go(workspace: Workspace) -> None:
    toy, again = make_stage("toy", k=5), LocalSpec(path="data", name="again")
    _, folder = run(experiment(collections=[DATA, again]), workspace)
    runs = folder / "runs"
    (runs / "again" / "notes.txt").write_text("mine")
    run(experiment(pipelines={"one": toy, "new": toy}), workspace)
    left = {str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file()}
    assert left == {"data%2Ftest/one.trec", "data%2Ftest/new.trec", "again/notes.txt"}
    (runs / "again" / "notes.txt").unlink()
    run(experiment(collections=[again]), workspace)
    assert [path.name for path in runs.iterdir()] == ["again"]


def test_a_run_on_some_collections_says_so_and_keeps_the_others_run_files(workspace: Workspace) -> None:
    both = experiment(collections=[DATA, LocalSpec(path="data", name="again")])
    results, folder = run(both, workspace)
    assert results.left_out == []
    assert "some collections only" not in (folder / "report.html").read_text()
    before = {path: path.read_text() for path in folder.glob("runs/*/*.trec")}
    shutil.rmtree(workspace.root / "indexes")  # what the store has is shown too
    results, _ = run(both, workspace, only=["again"])
    assert results.left_out == ["data/test"]
    assert {path: path.read_text() for path in folder.glob("runs/*/*.trec")} == before
    assert len(before) == 4
    assert "Run on some collections only, without: data/test." in (folder / "scores.md").read_text()
    assert "data/test</bdi>" in (folder / "report.html").read_text().split("some collections only")[1][:80]


def test_only_is_checked(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="the experiment has no collection 'dtaa/test'") as caught:
        run(experiment(), workspace, only=["dtaa/test"])
    assert caught.value.problems[0].hint == "did you mean 'data/test'?"


def test_a_plan_for_every_collection(workspace: Workspace) -> None:
    two = experiment(collections=[DATA, LocalSpec(path="data", name="again")])
    plans = workspace.plan(two)
    assert {name: [node.status for node in nodes] for name, nodes in plans.items()} == {
        "data/test": ["compute", "compute"],
        "again": ["compute", "compute"],
    }
    run(experiment(), workspace)
    assert {node.status for nodes in workspace.plan(two).values() for node in nodes} == {"stored"}


def test_the_package_offers_its_names_and_its_stages() -> None:
    assert package.bm25(k=5) == make_stage("bm25", k=5)
    assert package.cross_encoder(model="x") == make_stage("cross-encoder", model="x")
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert package.Experiment is Experiment
    with pytest.raises(AttributeError, match="'bm52': did you mean 'bm25'"):
        package.bm52  # noqa: B018
