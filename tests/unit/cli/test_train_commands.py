"""``irkit make-task`` and ``irkit train``, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys
from tiny import WORDS

from irkit.train.__main__ import main as fit_main

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]

RECIPE = """\
name: mine
kind: adapter
data:
  - collection: {{path: data, split: test}}
  - {{collection: {{path: data, split: test}}, task: keyword, all_docs: true, terms: [2, 4]}}
negatives: {{pipeline: [toy: {{k: 5}}]}}
validation: {{share: 0.2, every: 2}}
training: {{epochs: 2, batch: 4, lr: 0.01}}
options: {{model: {model}, rank: 4}}
licence: free
"""


@pytest.fixture
def data(irkit: Irkit) -> Path:
    docs = {f"d{i}": f"{WORDS[i]} {WORDS[i + 1]} {WORDS[i + 2]} {WORDS[(i + 7) % 19]}" for i in range(12)}
    queries = {f"q{i}": f"{WORDS[0]} {WORDS[i + 1]}" for i in range(8)}
    return toys.write_beir(Path("data"), docs, queries)


@pytest.fixture
def recipe(data: Path, tiny_encoder: Path) -> Path:
    path = Path("recipe.yaml")
    path.write_text(RECIPE.format(model=tiny_encoder), encoding="utf-8")
    return path


def test_a_task_is_made(irkit: Irkit, data: Path) -> None:
    words = ("make-task", "keyword", data, "--split", "test", "--all-docs", "--seed", 3)
    ended = irkit(*words, "-o", "task")
    assert ended.code == 0, ended.err
    facts = json.loads(Path("task/task.json").read_text())
    assert facts["seed"] == 3 and facts["passages"] == "all documents" and facts["split"] == "test"
    assert f"{facts['queries']} queries of data/test, 12 documents: task" in ended.out
    assert irkit(*words, "-o", "again").code == 0
    assert Path("again/queries.jsonl").read_bytes() == Path("task/queries.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keywords", "data", "--split", "test"), "did you mean 'keyword'"),
        (("part", "data", "--split", "test"), "did you mean 'passage-part'"),
        (("keyword", "data"), "the folder has: test"),
        (("keyword", "beir/scifact/test", "--split", "test"), "--split is for folders"),
        (("keyword", "data", "--split", "train"), "train"),
        (("keyword", "data", "--split", "test", "--length", 16), "keyword queries have no length"),
        (("passage-part", "data", "--split", "test", "--length", 8), "--length"),
        (("passage-part", "data", "--split", "test", "--length", 8), "for example 32"),
        (("passage-part", "data", "--split", "test"), "passage too short"),
    ],
)
def test_what_cannot_be_made_is_said(irkit: Irkit, data: Path, words: tuple[object, ...], said: str) -> None:
    ended = irkit("make-task", *words, "-o", "task")
    assert ended.code == 2 and said in ended.err, ended.err
    assert not Path("task").exists()


def test_a_folder_that_is_there_is_refused_before_the_work(irkit: Irkit, data: Path) -> None:
    ended = irkit("make-task", "keyword", data, "--split", "test", "-o", "data")
    assert ended.code == 2 and "already" in ended.err


def test_training_from_end_to_end(irkit: Irkit, recipe: Path) -> None:
    ended = irkit("train", recipe, "--device", "cpu", "--threads", 1)
    assert ended.code == 0, ended.err
    assert "data/test queries" in ended.out and "data/test keyword" in ended.out
    said = json.loads(Path("models/mine/report.json").read_text())
    assert said["licence"] == "free" and said["sources"][1]["task"] == "data/test keyword"
    assert (
        Path("models/mine/adapter.safetensors").is_file()
        and "path: models/mine" in Path("models/mine/README.md").read_text()
    )
    again = irkit("train", recipe, "--device", "cpu", "--threads", 1)
    assert again.code == 0 and json.loads(Path("models/mine/report.json").read_text()) == said


def test_a_folder_that_is_refused_leaves_nothing_behind(irkit: Irkit, recipe: Path) -> None:
    words = ("train", recipe, "--device", "cpu", "--threads", 1)
    Path("models/full").mkdir(parents=True)
    ended = irkit(*words, "-o", "models/full")
    assert ended.code == 2 and "holds something else already" in ended.err
    assert irkit(*words).code == 0
    ended = irkit(*words, "--set", "options.rank=2")
    assert ended.code == 2 and "holds another training already" in ended.err
    assert sorted(path.name for path in Path("models").iterdir()) == ["full", "mine"]


def test_a_model_that_is_not_there_is_told_before_anything_is_mined(irkit: Irkit, recipe: Path) -> None:
    for name, said in (
        ("mini-lm", "--set options.model=mini-lm: there is no model"),
        ("./none", "no such folder"),
    ):
        for command in ("validate", "train"):
            ended = irkit(command, recipe, "--set", f"options.model={name}")
            assert ended.code == 2 and said in ended.err, ended.err
    ended = irkit("train", recipe, "--set", "options.model=models/none")  # by its form it may be on the hub
    assert ended.code == 2 and "models/none" in ended.err, ended.err
    assert not Path("models").exists()


def test_variants_are_chosen_and_told_where_they_are(irkit: Irkit, recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "variants: {a: {}, b: {seed: 1}, c: {seed: 2}}\n")
    words = ("train", recipe, "--device", "cpu", "--threads", 1)
    ended = irkit(*words, "--only", "c, a")
    assert ended.code == 0, ended.err
    assert [line.partition(";")[0] for line in ended.out.splitlines() if "written" in line] == [
        "written to models/mine/a",
        "written to models/mine/c",
    ]
    assert sorted(path.name for path in Path("models").rglob("*") if path.is_dir()) == ["a", "c", "mine"]
    ended = irkit(*words, "--only", "d")
    assert ended.code == 2 and "there is no variant 'd'" in ended.err


def test_untrained_weights_are_not_offered(
    irkit: Irkit, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from irkit.train.adapter import AdapterLearner

    monkeypatch.setattr(AdapterLearner, "validate", lambda learner: {"a task": 0.5})
    ended = irkit("train", recipe, "--device", "cpu", "--threads", 1)
    assert ended.code == 0, ended.err
    assert "written to models/mine; no step helped: these are the untrained weights" in ended.out
    assert "README.md" not in ended.out
    said = json.loads(Path("models/mine/report.json").read_text())
    assert said["outcome"] == "no step helped: these are the untrained weights"


@pytest.mark.parametrize("looked", [False, True])
def test_an_interruption_says_what_is_left(
    irkit: Irkit, recipe: Path, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    from irkit.train.adapter import AdapterLearner

    def stop(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(AdapterLearner, "loss" if looked else "validate", stop)
    ended = irkit("train", recipe, "--device", "cpu", "--threads", 1)
    assert ended.code == 130
    assert ("goes on from the last checkpoint" in ended.err) == looked, ended.err
    assert ("there is no checkpoint yet" in ended.err) != looked, ended.err


def test_prepared_and_fitted_apart_is_the_same(
    irkit: Irkit, recipe: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert irkit("train", recipe, "-o", "whole", "--device", "cpu", "--threads", 1).code == 0
    ended = irkit("train", recipe, "--prepare-only", "-o", "examples.json.gz")
    assert ended.code == 0 and "held out" in ended.out, ended.err
    assert irkit("train", "examples.json.gz", "-o", "apart", "--device", "cpu", "--threads", 1).code == 0
    words = [
        "examples.json.gz",
        "-o",
        "alone",
        "--model",
        str(tiny_encoder),
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    assert fit_main(words) == 0
    assert "ndcg@10" in capsys.readouterr().out
    files = [Path(folder, "adapter.safetensors").read_bytes() for folder in ("whole", "apart", "alone")]
    assert files[0] == files[1] == files[2]


def test_settings_reach_prepared_examples_unless_they_change_them(irkit: Irkit, recipe: Path) -> None:
    irkit("train", recipe, "--prepare-only", "-o", "e.json.gz")
    words = ("train", "e.json.gz", "-o", "out", "--device", "cpu")
    ended = irkit(*words, "--set", "seed=3")
    assert ended.code == 2 and "would change the examples" in ended.err
    assert irkit(*words, "--set", "options.rank=2").code == 0
    assert json.loads(Path("out/adapter.json").read_text())["rank"] == {"query": 2}


def test_faults_are_said(irkit: Irkit, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = Path("bad.yaml")
    bad.write_text(recipe.read_text().replace("path: data", "path: nowhere").replace("rank: 4", "rang: 4"))
    ended = irkit("train", bad)
    assert ended.code == 2 and all(f"bad.yaml:{line}" in ended.err for line in (4, 5, 9)), ended.err
    assert irkit("train", "none.yaml").code == 2
    assert "is for prepared examples" in irkit("train", recipe, "--model", "x").err
    Path("x.json.gz").write_bytes(b"nothing")
    assert "cannot be read" in irkit("train", "x.json.gz").err
    assert fit_main(["x.json.gz", "-o", "out"]) == 2
    assert "error: x.json.gz" in capsys.readouterr().err
    irkit("train", recipe, "--prepare-only", "-o", "e.json.gz")
    assert "prepared already" in irkit("train", "e.json.gz", "--prepare-only").err


def test_validate_knows_a_recipe(irkit: Irkit, recipe: Path) -> None:
    ended = irkit("validate", recipe)
    assert (ended.code, ended.err) == (0, "")
    assert "recipe.yaml: good (a recipe of adapter, 2 sources of data)" in ended.out
    recipe.write_text(recipe.read_text().replace("rank: 4", "rang: 4"))
    ended = irkit("validate", recipe, "--set", "seed=-1")
    assert ended.code == 2
    assert "did you mean 'rank'?" in ended.err and "a seed is a whole number" in ended.err
    assert "metrics" not in ended.err
