"""``--only``: short names, what the store adds, and runs that go on another day."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toys

from irkit.api import Workspace, run
from irkit.api.chosen import chosen, chosen_pipelines, restricted, stored
from irkit.api.leaderboard import make_leaderboard
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError
from irkit.data.collection import EvalPolicy
from irkit.data.spec import LocalSpec
from irkit.pipeline.registry import make_stage
from irkit.report.again import command_of
from irkit.report.results import load_results

pytestmark = pytest.mark.usefixtures("toy_stages")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    for name in ("red", "green", "blue"):
        queries = {qid: f"{text} {name}" for qid, text in toys.QUERIES.items()}
        toys.write_beir(tmp_path / name, queries=queries)
    return Workspace(tmp_path)


def experiment(**changes: Any) -> Experiment:
    macro = EvalPolicy(macro="set/warm")
    rest = {
        "collections": [
            LocalSpec(path="red", name="set/warm/red", policy=macro),
            LocalSpec(path="green", name="set/warm/green", policy=macro),
            LocalSpec(path="blue", name="blue/test"),
        ],
        "pipelines": {"one": make_stage("toy", k=5)},
        "metrics": ["ndcg@10"],
        "averages": {"every": "all"},
        **changes,
    }
    return Experiment.of("mine", **rest)


def test_short_names_and_sets() -> None:
    mine = experiment()
    assert chosen(mine, ["blue", "red"]) == ["set/warm/red", "blue/test"]
    assert chosen(mine, ["warm"]) == ["set/warm/red", "set/warm/green"] == chosen(mine, ["set/warm"])
    assert chosen(mine, []) == list(mine.collections)
    with pytest.raises(ConfigError) as caught:
        chosen(mine, ["bleu", "e", "red"])
    assert [(p.where, p.hint) for p in caught.value.problems] == [
        ("--only bleu", "did you mean 'blue'?"),
        ("--only e", "name one: set/warm/red, set/warm/green, blue/test"),
    ]


def test_a_suite_in_pieces_is_the_suite(workspace: Workspace) -> None:
    first, folder = run(experiment(), workspace, only=["blue"])
    assert (first.kept, first.left_out) == ([], ["set/warm/red", "set/warm/green"])
    assert [(s.average, s.members, s.of) for s in first.average_scores] == [("every", 1, 2)]
    ran = toys.calls("run")
    second, _ = run(experiment(), workspace, only=["red"])
    assert (second.kept, second.left_out) == (["blue/test"], ["set/warm/green"])
    assert toys.calls("run") == ran + 1, "nothing of the kept collection is computed again"
    assert [info.name for info in second.collections] == ["set/warm/red", "blue/test"]
    assert "From the store, of earlier runs: blue/test." in (folder / "scores.md").read_text()
    assert "From the store, of earlier runs" in (folder / "report.html").read_text()
    third, _ = run(experiment(), workspace, only=["green"])
    whole, _ = run(experiment(), workspace)
    assert third.left_out == [] and whole.kept == []
    assert (third.scores, third.average_scores) == (whole.scores, whole.average_scores)
    assert whole.average_scores[0].of == 2 == whole.average_scores[0].members
    assert load_results(folder)[0] == whole


def test_what_has_changed_since_is_left_out(workspace: Workspace) -> None:
    run(experiment(), workspace, only=["blue"])
    assert stored(experiment(), ["blue/test", "set/warm/red"], workspace) == ["blue/test"]
    assert stored(experiment(metrics=["recall@2"]), ["blue/test"], workspace) == ["blue/test"]
    assert stored(experiment(pipelines={"one": make_stage("toy", k=4)}), ["blue/test"], workspace) == []
    two = {"one": make_stage("toy", k=5), "two": make_stage("toy", k=3)}
    assert stored(experiment(pipelines=two), ["blue/test"], workspace) == []
    with (workspace.root / "blue" / "queries.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "q77", "text": "more"}) + "\n")
    assert stored(experiment(), ["blue/test"], workspace) == []
    (workspace.root / "blue" / "queries.jsonl").unlink()
    results, _ = run(experiment(), workspace, only=["red"])
    assert results.left_out == ["set/warm/green", "blue/test"]


def test_published_scores_of_the_workspace(workspace: Workspace) -> None:
    folder = workspace.root / "eval" / "reference"
    folder.mkdir(parents=True)
    plain, _ = run(experiment(), workspace)
    value = plain.value("blue/test", "one", "ndcg@10")
    (mean,) = plain.average_scores
    source = {"url": "u", "citation": "c", "version": "v", "date": "d"}
    data = {
        "name": "ours",
        "title": "Ours",
        "source": source,
        "decimals": 4,
        "scores": {"blue/test": {"ndcg@10": round(value, 4)}, "set/warm": {"ndcg@10": 0.0}},
        "averages": {"every": {"ndcg@10": round(mean.value, 4)}},
    }
    (folder / "ours.json").write_text(json.dumps(data))
    results, _ = run(experiment(reference={"one": "ours"}), workspace)
    assert [(s.kind, s.collection, s.status) for s in results.reference] == [
        ("collection", "blue/test", "match"),
        ("set", "set/warm", "off"),
        ("average", "every", "match"),
    ]
    before = toys.calls("run")
    with pytest.raises(ConfigError, match="no published scores 'our'"):
        run(experiment(reference={"one": "our"}, pipelines={"one": make_stage("toy", k=2)}), workspace)
    assert toys.calls("run") == before, "the mistake is found before anything is computed"


def many(**changes: Any) -> Experiment:
    pipelines = {name: make_stage("toy", k=k) for name, k in (("one", 5), ("two", 4), ("three", 3))}
    return experiment(pipelines=pipelines, baseline="one", **changes)


def test_one_row_is_that_of_the_whole(workspace: Workspace) -> None:
    expected = {"blue/test": {name: {"ndcg@10": 0.5} for name in ("one", "two")}}
    first, folder = run(many(expected=expected), workspace, only=["blue"], pipelines=["two"])
    assert (list(first.pipelines), first.baseline) == (["two"], None)
    assert (first.left_out_pipelines, first.kept_pipelines) == (["one", "three"], [])
    assert [each.pipeline for each in first.expected] == ["two"]
    assert toys.calls("run") == 1, "the others are not computed"
    assert "Without the pipelines one, three." in (folder / "scores.md").read_text()
    assert load_results(folder)[0] == first
    whole, _ = run(many(), workspace, only=["blue"], pipelines=["one", "three"])
    assert (whole.left_out_pipelines, whole.kept_pipelines) == ([], ["two"])
    assert (list(whole.pipelines), whole.baseline) == (["one", "two", "three"], "one")
    assert toys.calls("run") == 3
    assert whole.value("blue/test", "two", "ndcg@10") == first.value("blue/test", "two", "ndcg@10")
    assert "Pipelines from the store: two." in (folder / "scores.md").read_text()


def test_a_pipeline_is_kept_where_all_collections_have_it(workspace: Workspace) -> None:
    run(many(), workspace, only=["blue"])
    results, folder = run(many(), workspace, only=["blue", "red"], pipelines=["three"])
    assert (results.kept_pipelines, results.left_out_pipelines) == ([], ["one", "two"])
    assert [info.name for info in results.collections] == ["set/warm/red", "blue/test"]
    results, _ = run(many(), workspace, only=["red"], pipelines=["three"])
    assert results.kept == ["blue/test"], "which has all of what is shown"
    assert sorted(path.stem for path in (folder / "runs").glob("*blue*/*.trec")) == ["one", "three", "two"]


def test_names_of_pipelines_are_whole(workspace: Workspace) -> None:
    assert chosen_pipelines(many(), ["three", "one"]) == ["one", "three"]
    assert chosen_pipelines(many(), []) == ["one", "two", "three"]
    with pytest.raises(ConfigError) as caught:
        run(many(), workspace, pipelines=["thre", "one"])
    assert [(p.where, p.hint) for p in caught.value.problems] == [
        ("--pipeline thre", "did you mean 'three'?")
    ]
    assert not toys.calls("run")


def test_what_others_were_compared_with_goes_with_them() -> None:
    expected = {"blue/test": {"one": {"ndcg@10": 0.5}, "two": {"ndcg@10": 0.5}}}
    mine = restricted(many(expected=expected), ["two"])
    assert (list(mine.pipelines), mine.baseline, list(mine.expected["blue/test"])) == (["two"], None, ["two"])
    assert restricted(many(), ["one"]).baseline == "one"


def looked(**changes: Any) -> Experiment:
    rerank = toys.toy(k=5) >> make_stage("toy-look", order_control=7)
    return experiment(pipelines={"look": rerank, "other": make_stage("toy", k=3)}, **changes)


def test_an_order_control_by_itself_stays_one(workspace: Workspace) -> None:
    asked = "look (shuffled)"
    results, folder = run(looked(), workspace, only=["blue"], pipelines=[asked])
    assert (list(results.pipelines), results.controls) == (["look", asked], {asked: "look"})
    assert (results.left_out_pipelines, results.kept_pipelines) == (["other"], [])
    assert {score.pipeline for score in results.scores} == {"look", asked}
    command = command_of("irkit run x.yaml -p other", asked)
    assert command is not None and shlex.split(command)[-2:] == ["--pipeline", asked]
    made = make_leaderboard([folder], output=workspace.root / "board")
    assert ([row.label for row in made.board.rows], made.board.controls) == (["look"], 1)
    assert list(restricted(looked(baseline="look"), [asked]).pipelines) == ["look", asked]
    assert restricted(looked(baseline="look"), [asked]).baseline == "look"
    assert list(restricted(looked(), ["look"]).pipelines) == ["look"]


def test_run_files_of_what_the_experiment_no_longer_has_go(workspace: Workspace) -> None:
    def files(folder: Path) -> set[str]:
        return {f"{path.parent.name[-4:]}/{path.stem}" for path in folder.glob("runs/*/*.trec")}

    _, folder = run(many(), workspace)
    assert len(files(folder)) == 9
    note = next(folder.glob("runs/*blue*")) / "note.txt"
    note.write_text("of the user")
    run(many(), workspace, only=["red"], pipelines=["one"])
    assert len(files(folder)) == 9, "what is left out for once stays"
    fewer = many(collections=[LocalSpec(path="red", name="set/warm/red")])
    fewer = replace(fewer, pipelines={name: fewer.pipelines[name] for name in ("one", "two")})
    run(fewer, workspace)
    assert files(folder) == {"Fred/one", "Fred/two"}
    assert len(list((folder / "runs").iterdir())) == 2 and note.exists()
