"""Measuring an experiment, with toy stages in this process and a real encoder in processes of their own."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toys

from irkit.api import Workspace, run
from irkit.api.measure import measure
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, DataError, ModelError, ReportError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.data.spec import LocalSpec
from irkit.pipeline.context import Context, Runtime, Silent
from irkit.pipeline.registry import make_stage
from irkit.report.efficiency import EFFICIENCY, Efficiency, current, load_efficiency
from irkit.report.efficiency_tables import legend

api = sys.modules["irkit.api.measure"]

pytestmark = pytest.mark.usefixtures("toy_stages")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the toys is compiled: no seconds to warm up."""
    monkeypatch.setattr("irkit.exec.timing.LEAST", 1)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IRKIT_STORE", raising=False)
    for name in ("red", "blue"):
        toys.write_beir(
            tmp_path / name, queries={qid: f"{text} {name}" for qid, text in toys.QUERIES.items()}
        )
    return Workspace(tmp_path, runtime=Runtime("cpu", 2))


def experiment(**changes: Any) -> Experiment:
    rest = {
        "collections": [LocalSpec(path="red", name="red"), LocalSpec(path="blue", name="blue")],
        "pipelines": {
            "one": make_stage("toy-indexed", k=5),
            "two": make_stage("toy-indexed", k=5) >> make_stage("toy-rerank"),
        },
        "metrics": ["ndcg@10"],
        **changes,
    }
    return Experiment.of("mine", **rest)


def kinds(workspace: Workspace) -> Counter[str]:
    return Counter(artifact.kind for artifact in workspace.store.artifacts())


def test_stages_run_and_their_results_stay_out_of_the_store(workspace: Workspace) -> None:
    found, folder = measure(experiment(), workspace, only=["red"], queries=3, warmup=2, isolated=False)
    assert folder == workspace.runs / "mine"
    assert load_efficiency(folder) == found
    written = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert written == {EFFICIENCY, "efficiency.md", "efficiency.csv"}
    assert kinds(workspace)["toy-index"] == 1 and not kinds(workspace)["rankings"]
    assert [(each.collection, each.pipeline) for each in found.pipelines] == [("red", "one"), ("red", "two")]
    assert [(each.pipeline, each.position, each.stage) for each in found.stages] == [
        ("one", 0, "toy-indexed"),
        ("two", 0, "toy-indexed"),
        ("two", 1, "toy-rerank"),
    ]
    assert {each.latency.samples for each in [*found.stages, *found.pipelines]} == {3}
    (built,) = found.stages[0].builds
    (artifact,) = [each for each in workspace.store.artifacts() if each.kind == "toy-index"]
    assert (built.kind, built.key, built.bytes) == ("toy-index", artifact.key, artifact.bytes)
    assert built.seconds == artifact.manifest["seconds"]
    assert [each.bytes for each in found.pipelines] == [artifact.bytes] * 2
    assert (found.threads, found.queries, found.warmup, found.isolated) == (2, 3, 2, False)
    taken = found.pipelines[1].latency
    assert 0 < taken.p50 <= taken.p95 <= taken.p99
    assert taken.warmed >= 100 and found.pipelines[0].latency.warmed >= 100, "until times stand still"
    assert not any(each.excludes for each in [*found.stages, *found.pipelines])
    assert found.pipelines[0].flops is None or found.pipelines[0].flops > 0


def test_what_is_stored_is_measured_all_the_same(workspace: Workspace) -> None:
    results, folder = run(experiment(), workspace)
    before, report = toys.queries_run("toy-rerank"), (folder / "report.html").stat().st_mtime_ns
    stored = kinds(workspace)
    first, _ = measure(experiment(), workspace, only=["red"], pipelines=["two"], queries=2, isolated=False)
    assert toys.queries_run("toy-rerank") > before
    assert kinds(workspace) == stored
    assert (folder / "report.html").stat().st_mtime_ns > report, "the report is made anew"
    second, _ = measure(experiment(), workspace, only=["blue"], pipelines=["one"], queries=2, isolated=False)
    assert [(e.collection, e.pipeline) for e in second.pipelines] == [("red", "two"), ("blue", "one")]
    assert current(second, results).outdated == []
    assert len(current(second, results).efficiency.pipelines) == 2
    old, new = second.pipelines
    assert first.created == old.created <= new.created == second.created
    assert old.command == new.command == second.command
    third, _ = measure(
        experiment(),
        replace(workspace, runtime=Runtime(None, 2)),
        only=["blue"],
        pipelines=["two"],
        queries=2,
        isolated=False,
    )
    assert [each.pipeline for each in third.pipelines] == ["two"], "another device was asked for"
    changed, _ = run(experiment(pipelines={"two": make_stage("toy", k=3)}), workspace)
    assert current(second, changed).outdated == [("red", "two")]


def test_mistakes_are_told_before_anything_is_built(workspace: Workspace) -> None:
    def fails(kind: type[Exception], match: str, **options: Any) -> Any:
        with pytest.raises(kind, match=match) as caught:
            measure(experiment(), workspace, isolated=False, **options)
        return caught.value

    error = fails(ConfigError, "no pipeline 'tow'", pipelines=["one", "tow"])
    assert [(p.where, p.hint) for p in error.problems] == [("--pipeline tow", "did you mean 'two'?")]
    fails(ConfigError, "nothing to measure", queries=0)
    fails(ConfigError, "no such number", warmup=-1)
    fails(ConfigError, "no collection 'green'", only=["green"])
    assert not toys.calls("shard")
    (workspace.root / "red" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    (workspace.root / "red" / "queries.jsonl").write_text("")
    fails(DataError, "red", only=["red"])
    folder = workspace.runs / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EFFICIENCY).write_text("{")
    fails(Exception, "damaged", only=["blue"])
    assert not toys.calls("shard")


def test_what_was_measured_before_a_failure_is_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = api.measure_pipeline, workspace.runs / "mine"

    def broken_off(task: Any, *rest: Any) -> Any:
        if task.pipeline == "two":
            raise KeyboardInterrupt
        return real(task, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(api, "measure_pipeline", broken_off)
        with pytest.raises(KeyboardInterrupt):
            measure(experiment(), workspace, only=["red"], queries=2, warmup=0, isolated=False)
    kept = load_efficiency(folder)
    assert kept is not None and [each.pipeline for each in kept.pipelines] == ["one"]
    assert "| one |" in (folder / "efficiency.md").read_text()


def test_two_sessions_at_a_time_add_up(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = api.measure_pipeline
    options: dict[str, Any] = {"queries": 2, "warmup": 0, "isolated": False}

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(api, "measure_pipeline", real)
        measure(experiment(), workspace, only=["blue"], pipelines=["one"], **options)
        return real(*given)

    monkeypatch.setattr(api, "measure_pipeline", meanwhile)
    found, folder = measure(experiment(), workspace, only=["red"], **options)
    measured = [(each.collection, each.pipeline) for each in found.pipelines]
    assert measured == [("blue", "one"), ("red", "one"), ("red", "two")]
    assert load_efficiency(folder) == found
    assert len(list(folder.glob("*.json"))) == 1


def test_measurements_of_other_settings_are_kept_aside(workspace: Workspace) -> None:
    said: list[str] = []

    class Telling(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    workspace = replace(workspace, progress=Telling())
    asked: dict[str, Any] = {"only": ["red"], "pipelines": ["one"], "warmup": 0, "isolated": False}
    first, folder = measure(experiment(), workspace, queries=2, **asked)
    assert not said
    second, _ = measure(experiment(), workspace, queries=3, **asked)
    (aside,) = folder.glob("efficiency-*.json")
    assert aside.name == f"efficiency-{first.created[:19].replace(':', '-')}.json"
    assert Efficiency.model_validate_json(aside.read_text()) == first
    assert load_efficiency(folder) == second
    assert len(said) == 1 and aside.name in said[0] and "(--queries 2)" in said[0]
    # One of the same second takes no other's place
    (folder / EFFICIENCY).write_text(second.model_copy(update={"created": first.created}).model_dump_json())
    measure(experiment(), workspace, queries=4, **asked)
    assert len(list(folder.glob("efficiency-*.json"))) == 2
    assert Efficiency.model_validate_json(aside.read_text()) == first


def test_the_folder_is_tried_before_anything_is_built(workspace: Workspace) -> None:
    output = workspace.root / "file" / "out"
    output.parent.write_text("no folder")
    with pytest.raises(ReportError, match="the folder cannot be written"):
        measure(experiment(), workspace, output=output, isolated=False)
    assert not toys.calls("shard")


@pytest.mark.parametrize(("waiting", "busy"), [(None, False), (0.99, False), (1.0, True)])
def test_the_machine_is_looked_at_once_before_anything_runs(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, waiting: float | None, busy: bool
) -> None:
    looked = []

    def load() -> float | None:
        looked.append(toys.calls("shard"))
        return waiting

    monkeypatch.setattr(api, "load", load)
    found, _ = measure(experiment(), workspace, only=["red"], queries=1, warmup=0, isolated=False)
    assert len(looked) == 1 and not looked[0]
    assert [(each.load, each.busy) for each in found.pipelines] == [(waiting, busy)] * 2
    assert ("The machine was busy" in legend(found)) is busy


def test_order_controls_are_left_out_unless_named(workspace: Workspace) -> None:
    asked = experiment(
        collections=[LocalSpec(path="red", name="red")],
        pipelines={"look": make_stage("toy", k=5) >> make_stage("toy-look", order_control=1)},
    )
    (control,) = asked.controls
    found, _ = measure(asked, workspace, queries=1, warmup=0, isolated=False)
    assert [each.pipeline for each in found.pipelines] == ["look"]
    found, _ = measure(asked, workspace, pipelines=[control], queries=1, warmup=0, isolated=False)
    assert [each.pipeline for each in found.pipelines] == ["look", control]


class Paid(toys.Toy):
    """Wants a text of an endpoint for every query."""

    url: ClassVar[str] = "http://127.0.0.1:9/v1"

    def prepare(self, context: Context) -> Any:
        from irkit.stages.writing import WriterOptions

        options = WriterOptions(url=self.url, model="m", key_variable="NO_SUCH_KEY")
        return options.open(context), toys.tokens_of(context.collection.docs)

    def search(self, queries: Queries, depth: int, state: Any) -> Rankings:
        from irkit.models.writers import Prompt, Sampling

        author, tokens = state
        author.texts(queries.qid, [[Prompt(text)] for text in queries.text], 1, Sampling(0.0, 1.0, 8))
        return super().search(queries, depth, tokens)


def test_nothing_is_paid_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from irkit.core.fingerprint import fingerprint
    from irkit.models.writers import Job, Prompt, Sampling
    from irkit.pipeline.registry import register

    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    register("toy-paid")(Paid)
    asked = experiment(
        collections=[LocalSpec(path="red", name="red")], pipelines={"paid": make_stage("toy-paid", k=3)}
    )
    with pytest.raises(ModelError, match="a measurement has none written"):
        measure(asked, workspace, isolated=False)
    identity = {"kind": "endpoint", "url": f"{Paid.url}/chat/completions", "model": "m"}
    for text in toys.QUERIES.values():
        job = Job(Prompt(f"{text} red"), Sampling(0.0, 1.0, 8))
        key = fingerprint({"writer": fingerprint(identity), "job": job.to_data()})
        workspace.store.ledger("texts").put(key, {"text": "x", "tokens": [len(text), 2]})
    size = workspace.store.ledger("texts").size
    found, _ = measure(asked, workspace, queries=99, warmup=1, isolated=False)
    mean = sum(map(len, toys.QUERIES.values())) / len(toys.QUERIES)
    assert found.stages[0].tokens == {"prompt": mean, "completion": 2} == found.pipelines[0].tokens
    assert any("texts come from the store" in note for note in found.stages[0].notes)
    assert found.stages[0].excludes == found.pipelines[0].excludes == ["writing of texts by a language model"]
    assert workspace.store.ledger("texts").size == size


def test_each_pipeline_in_a_process_of_its_own(workspace: Workspace, tiny_encoder: Path) -> None:
    asked = experiment(
        collections=[LocalSpec(path="red", name="red")],
        pipelines={"dense": make_stage("dense", model=str(tiny_encoder), k=3)},
    )
    found, folder = measure(asked, workspace, queries=3, warmup=0)
    assert found.isolated and json.loads((folder / EFFICIENCY).read_text())["isolated"] is True
    (stage,), (pipeline,) = found.stages, found.pipelines
    assert stage.flops and stage.flops > 0 and pipeline.flops == stage.flops
    assert stage.memory and stage.memory > 50_000_000, "torch is loaded there, whatever was loaded here"
    assert any("faiss" in note for note in stage.notes)
    assert stage.flops_at_least and pipeline.flops_at_least, "faiss's work is not counted"
    assert (stage.differing, [built.kind for built in stage.builds]) == (0, ["vectors"])
    assert pipeline.bytes == sum(built.bytes for built in stage.builds)


def test_errors_of_the_other_process_are_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from irkit.api import measured_apart
    from irkit.api.measured import Task

    # the other process does not know the toys
    asked = experiment(collections=[LocalSpec(path="red", name="red")])
    with pytest.raises(ConfigError, match="toy-indexed"):
        measured_apart.measure_apart(Task("red", "one", 1, 0), asked, workspace)

    def killed(*_: Any, **__: Any) -> Any:
        return type("Ended", (), {"returncode": -9})

    monkeypatch.setattr(measured_apart.subprocess, "run", killed)
    with pytest.raises(Exception, match="killed by SIGKILL"):
        measured_apart.measure_apart(Task("red", "one", 1, 0), asked, workspace)


def test_the_command(irkit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tiny_encoder: Path) -> None:
    toys.write_beir(Path("data"))
    text = "name: first\ncollections: [{path: data}]\nmetrics: [ndcg@10]\npipelines:\n"
    text += f"  one: [dense: {{model: '{tiny_encoder}', k: 5}}]\n"
    Path("first.yaml").write_text(text, encoding="utf-8")
    ended = irkit("measure", "first.yaml", "-q", 2, "--warmup", 0, "-p", "one", "-o", "out")
    assert ended.code == 0, ended.err
    assert "data/test" in ended.out and "p50 ms" in ended.out and "GFLOP" in ended.out
    assert "written to out/efficiency.json" in ended.out
    assert load_efficiency(Path("out")) is not None
    ended = irkit("measure", "first.yaml", "--queries", 0)
    assert (ended.code, "--queries 0: there is nothing to measure" in ended.err) == (2, True)
