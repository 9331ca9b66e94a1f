"""Experiments from YAML and from Python: what is read, and every problem at once with its line."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from experiments import GOOD, read

from irkit.config.experiment import Experiment, load_experiment
from irkit.core.errors import ConfigError
from irkit.data.spec import LocalSpec
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.registry import make_stage

pytestmark = pytest.mark.usefixtures("toy_stages")


def problems(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [(p.where or "", p.message, p.hint or "") for p in caught.value.problems]


def test_a_good_file() -> None:
    experiment = read(GOOD)
    assert experiment.name == "good"
    assert list(experiment.collections) == ["irkit/limit-synthetic?n=12", "folder/dev"]
    assert experiment.collections["folder/dev"] == LocalSpec(path="some/folder", split="dev")
    assert list(experiment.metrics) == ["ndcg@10", "recall@2"]
    assert experiment.pipelines["first"] == make_stage("toy", k=20) >> make_stage("toy-rerank")
    assert experiment.pipelines["second"] == Pipeline.of(make_stage("toy"))
    assert experiment.expected == {"irkit/limit-synthetic?n=12": {"first": {"ndcg@10": 0.5}}}


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
name: a/b
collection: [x]
collections: [irkit/limit-synthetic]
metrics: [ndcg@10, ndgc@10]
pipelines:
  one:
    - tyo: {k: 5}
    - toy-rerank
  two:
    - toy: {kk: 5,
        scale: 0}
  three:
    - toy-rerank
  four: [toy: {k: 1}, toy-words]
baseline: too
tolerance: 2
expected: {one: {map: 0.5}, to: {ndcg@10: 1.5}}
"""
    found = problems(text)
    assert [where for where, _, _ in found] == [
        f"f.yaml:{n}" for n in (1, 2, 4, 7, 10, 11, 13, 14, 15, 16, 17)
    ] + ["f.yaml:17"] * (len(found) - 11)
    hints = {where: hint for where, _, hint in found}
    assert hints["f.yaml:2"] == "did you mean 'collections'?"
    assert "ndcg" in hints["f.yaml:4"]
    assert hints["f.yaml:7"] == "did you mean 'toy'?"
    assert hints["f.yaml:10"] in ("did you mean 'k'?", "choose one of: k, scale, style, threads")
    assert hints["f.yaml:15"] == "did you mean 'two'?"
    messages = " | ".join(message for _, message, _ in found)
    for part in (
        "'a/b'",
        "'collection'",
        "'tyo'",
        "'kk'",
        "scale: ",
        "toy-rerank",
        "toy-words",
        "'too'",
        "not 2",
    ):
        assert part in messages, part
    assert "'map' is not among the experiment's metrics" in messages


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "f.yaml", "an experiment is a mapping"),
        ("[a, b]", "f.yaml:1", "an experiment is a mapping"),
        ("just text", "f.yaml:1", "an experiment is a mapping"),
        (GOOD.replace("name: good", "name:"), "f.yaml:1", "'name' is missing or empty"),
        (GOOD.replace("name: good\n", ""), "f.yaml:1", "'name' is missing or empty"),
        (GOOD.replace("name: good", "name: 5"), "f.yaml:1", "5 cannot be the name of a folder"),
        (GOOD.replace("name: good", "name: ../x"), "f.yaml:1", "'../x' cannot be the name"),
        (GOOD.replace("Two pipelines", "[1]"), "f.yaml:2", "the description is text"),
        (GOOD.replace("  - {path: some/folder, split: dev}", "  - 5"), "f.yaml:5", "not 5"),
        (GOOD.replace("split: dev", "spilt: dev"), "f.yaml:5", "unknown option 'spilt'"),
        (GOOD.replace("{path: some/folder, split: dev}", "{split: dev}"), "f.yaml:5", "give 'path'"),
        (GOOD.replace("{path: some/folder, split: dev}", "irkit/limit-synthetic?n=12"), "f.yaml:5", "twice"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "ndcg@10"), "f.yaml:6", "'metrics' is a list"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "[ndcg@10, nDCG@10]"), "f.yaml:6", "twice"),
        (GOOD.replace("[ndcg_cut_10, Recall@2]", "[[1]]"), "f.yaml:6", "[1]"),
        (GOOD.replace("second: toy", "second: []"), "f.yaml:11", "has no stage"),
        (GOOD.replace("second: toy", "second:"), "f.yaml:11", "a pipeline is a list of stages, not None"),
        (GOOD.replace("second: toy", "second: 5"), "f.yaml:11", "not 5"),
        (GOOD.replace("second: toy", "a/b: toy"), "f.yaml:11", "'a/b' cannot be the name of a file"),
        (GOOD.replace("second: toy", "second: [5]"), "f.yaml:11", "a step is one stage's name"),
        (
            GOOD.replace("second: toy", "second: [{toy: 5}]"),
            "f.yaml:11",
            "the options of 'toy' are a mapping",
        ),
        (
            GOOD.replace("second: toy", "second: [{toy: {}, fuse: {}}]"),
            "f.yaml:11",
            "mapping of 2 keys (toy, fuse)",
        ),
        (
            GOOD.replace("second: toy", "second: [fuse]"),
            "f.yaml:11",
            "'fuse' needs a list of pipelines under 'of'",
        ),
        (GOOD.replace("second: toy", "second: [fuse: {of: toy}]"), "f.yaml:11", "needs a list of pipelines"),
        (GOOD.replace("second: toy", "second: [toy: {of: [toy]}]"), "f.yaml:11", "unknown option 'of'"),
        (GOOD.replace("second: toy", "second: [fuse: {of: [[toy], [tyo]]}]"), "f.yaml:11", "no stage 'tyo'"),
        (
            GOOD.replace("second: toy", "second: [fuse: {weights: [1], of: [toy, [toy]]}]"),
            "f.yaml:11",
            "1 weights",
        ),
        (GOOD.replace("k: 20", "k: many"), "f.yaml:9", "k: "),
        (GOOD.replace("k: 20", "threads: x"), "f.yaml:9", "threads: "),
        (GOOD.replace("k: 20", "style: plian"), "f.yaml:9", "style: "),
        (GOOD.replace("baseline: first", "baseline: [first]"), "f.yaml:12", "there is no pipeline ['first']"),
        (GOOD.replace("{ndcg@10: 0.5}", "0.5"), "f.yaml:14", "expected metrics with their values, not 0.5"),
        (
            GOOD.replace("{ndcg@10: 0.5}", "{ndcg@10: x}"),
            "f.yaml:14",
            "expected a number from 0 to 1, not 'x'",
        ),
        (
            GOOD.replace("{first: {ndcg@10: 0.5}}", "[]"),
            "f.yaml:14",
            "expected pipelines with their scores, not []",
        ),
        (GOOD.replace("n=12: {first", "n=13: {first"), "f.yaml:14", "there is no collection"),
        ("pipelines: [{a: 1}]\nbaseline: a\nexpected: {a: 1}", "f.yaml:1", "'pipelines' maps names to lists"),
        ("expected: 5\ntolerance:", "f.yaml:2", "expected a number from 0 to 1, not None"),
    ],
)
def test_refused(text: str, where: str, message: str) -> None:
    found = problems(text)
    assert any(place == where and message in what for place, what, _ in found), found


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: x\ndescription: caf\xe9\n")
    with pytest.raises(ConfigError, match="byte 0xe9 cannot be read") as caught:
        load_experiment(path)
    assert caught.value.problems[0].where == f"{path}:2"


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_experiment(tmp_path / name)
    assert caught.value.problems[0].where == str(tmp_path / name)


def test_expected_scores_may_leave_out_the_only_collection() -> None:
    text = GOOD.replace("  - {path: some/folder, split: dev}\n", "")
    short = text.replace("irkit/limit-synthetic?n=12: {first: {ndcg@10: 0.5}}", "first: {ndcg_cut_10: 0.5}")
    assert short != text
    assert read(short).expected == read(text).expected


def test_an_experiment_made_in_python_is_validated_like_a_file() -> None:
    made = Experiment.of(
        "x", collections=["irkit/limit-synthetic"], metrics=["map"], pipelines={"p": make_stage("toy", k=3)}
    )
    assert made.pipelines == {"p": Pipeline.of(make_stage("toy", k=3))}
    with pytest.raises(ConfigError, match="experiment 'x': 'toy-rerank' needs rankings"):
        Experiment.of(
            "x",
            collections=["irkit/limit-synthetic"],
            metrics=["map"],
            pipelines={"p": make_stage("toy-rerank")},
        )


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ({"pth": "some/folder"}, "unknown option 'pth'"),
        ({"path": 5}, "path: Input should be a valid string, not 5"),
        ({5: "some/folder"}, "keywords must be strings"),
        (Path("some/folder"), "a collection is an id or a mapping with 'path', not "),
        (None, "a collection is an id or a mapping with 'path', not None"),
    ],
)
def test_a_collection_in_python_is_refused_like_one_in_a_file(collection: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Experiment.of("x", collections=[collection], metrics=["map"], pipelines={"p": make_stage("toy")})
    assert any(problem.message.startswith(message) for problem in caught.value.problems), caught.value
    assert {problem.where for problem in caught.value.problems} == {"experiment 'x'"}


def test_a_collection_in_python_may_be_a_mapping() -> None:
    def made(collection: Any) -> Experiment:
        return Experiment.of(
            "x", collections=[collection], metrics=["map"], pipelines={"p": make_stage("toy")}
        )

    spec = {"path": "some/folder", "split": "dev", "policy": {"drop_self": True}}
    assert made(spec) == made(LocalSpec(**spec))
    assert list(made(MappingProxyType(spec)).collections) == ["folder/dev"]


def test_a_file_may_be_named_by_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_experiment(str(path)) == load_experiment(path) == read(GOOD)
