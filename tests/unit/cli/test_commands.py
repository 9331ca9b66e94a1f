"""The commands, called in this process; ``irkit store`` has a file of its own."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys

from irkit.pipeline.context import Context, Runtime

pytestmark = pytest.mark.usefixtures("toy_stages")
Irkit = Callable[..., Any]


def test_run_shows_scores_and_writes_them(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("run", experiment)
    assert ended.code == 0
    assert re.search(r"two\s+[█* ]*0\.\d{4}", ended.out)
    assert "eval/runs/first/report.html" in ended.out
    folder = Path("eval/runs/first")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    scores = {(s["pipeline"], s["metric"]): s["value"] for s in results["scores"]}
    assert set(scores) == {(p, m) for p in ("one", "two") for m in ("ndcg@10", "recall@2")}
    runs = [line.split() for line in (folder / "runs" / "data%2Ftest" / "one.trec").read_text().splitlines()]
    found = [words[2] for words in runs if words[0] == "q1"]
    assert found == ["d2", "d1", "d5", "d3"]
    # d1 is relevant for all five queries, and second for q1 and q5 alone
    assert scores["one", "recall@2"] == pytest.approx(2 / 5)
    again = irkit("run", experiment)
    assert "nothing had changed" in again.out
    assert toys.calls("run", "toy") == 1


def test_run_checks_expected_scores(irkit: Irkit, experiment: Path) -> None:
    good, bad = ("--set", "expected={one: {recall@2: 0.4}}"), ("--set", "expected={one: {recall@2: 0.9}}")
    assert "all 1 expected scores are met" in irkit("run", experiment, *good, "--check").out
    ended = irkit("run", experiment, *bad)
    assert (ended.code, "0.4000, expected 0.9000" in ended.out) == (0, True)
    assert irkit("run", experiment, *bad, "--check").code == 1


def test_a_check_of_nothing_is_refused(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("run", experiment, "--check")
    assert (ended.code, ended.out) == (2, "")
    assert "first.yaml: --check finds no expected score" in ended.err
    assert "-> write the scores under `expected`" in ended.err
    assert not Path("eval").exists()
    both = ("--set", "collections=[{path: data}, {path: data, name: again}]")
    expected = ("--set", "expected={data/test: {one: {recall@2: 0.4}}}")
    assert irkit("run", experiment, *both, *expected, "--check", "--only", "data/test").code == 0
    shutil.rmtree("indexes")  # what the store has of data/test would be shown, and checked
    ended = irkit("run", experiment, *both, *expected, "--check", "--only", "again")
    assert (ended.code, "--only again: --check finds no expected" in ended.err) == (2, True)


def test_run_of_one_pipeline(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("run", experiment, "--pipeline", "one", "--only", "data")
    assert (ended.code, "pipelines not run: two" in ended.out) == (0, True)
    assert toys.calls("run", "toy-rerank") == 0
    ended = irkit("run", experiment, "-p", "two")
    assert "pipelines from the store: one" in ended.out and "not run" not in ended.out
    ended = irkit("run", experiment, "-p", "tow")
    assert (ended.code, "did you mean 'two'?" in ended.err) == (2, True)
    expected = ("--set", "expected={two: {recall@2: 0.4}}")
    shutil.rmtree("indexes")
    ended = irkit("run", experiment, *expected, "--check", "-p", "one")
    assert (ended.code, "-p one: --check finds no expected" in ended.err) == (2, True)


def test_nothing_had_changed_only_when_nothing_was_computed(irkit: Irkit, experiment: Path) -> None:
    def unchanged(*settings: str) -> bool:
        return "nothing had changed" in irkit("run", experiment, *settings).out

    assert not unchanged()
    assert unchanged()
    bonus = ("--set", "pipelines.two.toy-rerank.bonus=1")
    assert [unchanged(*bonus), unchanged(*bonus)] == [False, True]
    toys.write_beir(Path("data"), queries={**toys.QUERIES, "q9": "d e"})
    assert [unchanged(), unchanged()] == [False, True]


def test_threads_reach_the_stages(irkit: Irkit, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    prepare = toys.Toy.prepare

    def noting(self: toys.Toy, context: Context) -> toys.Tokens:
        seen.append(context.runtime.threads)
        return prepare(self, context)

    monkeypatch.setattr(toys.Toy, "prepare", noting)
    irkit("run", experiment, "--threads", 3)
    irkit("search", experiment, "--threads", 5, "a")
    irkit("search", experiment, "a")
    assert seen == [3, 5, Runtime().threads]


def test_run_on_some_collections_only(irkit: Irkit, experiment: Path) -> None:
    settings = ("--set", "collections=[{path: data}, {path: data, name: again}]")
    ended = irkit("run", experiment, *settings, "--only", "again")
    assert ended.code == 0
    assert [each.name for each in Path("eval/runs/first/runs").iterdir()] == ["again"]
    ended = irkit("run", experiment, "--only", "agian")
    assert (ended.code, "--only agian" in ended.err) == (2, True)


def test_plan_says_what_run_would_do(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("plan", experiment)
    assert (ended.code, "2 of 2 stages to compute" in ended.out) == (0, True)
    assert "never computed here" in ended.out
    assert toys.calls("prepare") == 0
    assert not Path("eval").exists()
    irkit("run", experiment)
    assert "0 of 2 stages to compute" in irkit("plan", experiment).out
    ended = irkit("plan", experiment, "--set", "pipelines.two.toy-rerank.bonus=1")
    assert "bonus: 0.0 -> 1.0" in ended.out
    assert "1 of 2 stages to compute" in ended.out


def test_plan_lists_explanations(irkit: Irkit, experiment: Path) -> None:
    look = ("--set", "pipelines.two=[{toy: {k: 5}}, {toy-look: {explanations: 2}}]")

    def planned(*settings: str) -> str:
        return " ".join(irkit("plan", experiment, *settings).out.split())

    told = "toy-look for two explains at most 6 documents of the first 2 queries"
    assert f"{told}, to compute" in planned(*look)
    irkit("run", experiment, *look)
    assert f"{told}, stored" in planned(*look)
    one = ("--set", "pipelines.two=[{toy: {k: 5}}, {toy-look: {explanations: 1}}]")
    assert "explains at most 3 documents of the first query, to compute" in planned(*one)
    assert "explains" not in planned()


def test_validate(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("validate", experiment)
    assert (ended.code, ended.err) == (0, "")
    assert "2 pipelines, 1 collections, 2 metrics" in ended.out
    assert not Path("indexes").exists()
    text = experiment.read_text(encoding="utf-8")
    experiment.write_text(
        text.replace("toy-rerank", "toy-rernak").replace("ndcg@10", "ndgc"), encoding="utf-8"
    )
    ended = irkit("validate", experiment)
    assert ended.code == 2
    assert "first.yaml:3" in ended.err
    assert "first.yaml:6" in ended.err
    assert "did you mean 'toy-rerank'?" in ended.err


@pytest.mark.parametrize(
    ("heads", "shown"),
    [
        ("core-mistral-7b-instruct-v0.3", "did you mean 'core-mistral-7b-instruct-v0.2'"),
        ("mine/heads.json", "mine/heads.json: there is no list of heads, and no file, of this name"),
        ("bad.json", "bad.json: the file is not JSON"),
        ("far.json", "far.json: heads[1]: there is no head 30-0: the model has 30 layers of 9 heads"),
        ("other.json", "the heads are those of b, 8 layers of 9 heads; this model has 30 layers of 9"),
        ("[3-0, 30-8]", "the model has no head 30-8: it has 30 layers of 9 heads"),
    ],
)
@pytest.mark.parametrize("stage", ["icr", "blockrank"])
def test_validate_reads_lists_of_heads_and_loads_no_model(
    irkit: Irkit, experiment: Path, heads: str, shown: str, stage: str
) -> None:
    Path("model").mkdir()
    Path("model/config.json").write_text('{"num_hidden_layers": 30, "num_attention_heads": 9}')
    Path("bad.json").write_text("{")
    list_ = {"irkit_heads": 1, "method": "core", "source": "here"}
    for name, layers, found in (("far", 30, ["29-8", "30-0"]), ("other", 8, ["7-0"]), ("good", 30, ["29-8"])):
        model = {"name": "b", "layers": layers, "heads": 9}
        Path(f"{name}.json").write_text(json.dumps({**list_, "model": model, "heads": found}))
    text = experiment.read_text(encoding="utf-8")

    def validate(value: str) -> Any:
        step = f"  heads: [toy, {stage}: {{model: ./model, heads: {value}}}]\n"
        experiment.write_text(text.replace("baseline", step + "baseline"), encoding="utf-8")
        return irkit("validate", experiment)

    assert validate("good.json").code == 0
    ended = validate(heads)
    assert ended.code == 2
    assert "first.yaml:7" in ended.err
    assert shown in " ".join(ended.err.split())


def test_many_problems_are_cut_to_a_screen(irkit: Irkit, experiment: Path) -> None:
    lines = "".join(f"  p{i}: [tyo]\n" for i in range(50))
    text = experiment.read_text(encoding="utf-8")
    experiment.write_text(text.replace("baseline", lines + "baseline"), encoding="utf-8")
    ended = irkit("validate", experiment)
    assert ended.err.count("there is no stage") == 20
    assert "... and 30 more" in ended.err


def test_text_that_looks_like_markup_is_shown_as_it_is(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("validate", experiment, "--set", "name='[bold]/x[/bold]'")
    assert "[bold]/x[/bold]" in ended.err


def test_schema(irkit: Irkit) -> None:
    ended = irkit("schema")
    schema = json.loads(ended.out)
    assert schema["$defs"]["stage-toy"]["properties"]["k"]["default"] == 1000
    assert irkit("schema", "-o", "schema.json").code == 0
    assert Path("schema.json").read_text(encoding="utf-8") == ended.out
    Path("file").write_text("", encoding="utf-8")
    ended = irkit("schema", "-o", "file/schema.json")
    assert (ended.code, "file/schema.json: " in ended.err) == (2, True)


def test_init_makes_a_workspace_that_validates(irkit: Irkit) -> None:
    ended = irkit("init", "new")
    assert ended.code == 0
    assert irkit("validate", "new/pipelines/first.yaml").code == 0
    assert (
        json.loads(Path("new/irkit.schema.json").read_text(encoding="utf-8"))["title"] == "irkit experiment"
    )
    first = Path("new/pipelines/first.yaml")
    first.write_text("mine", encoding="utf-8")
    assert "kept    new/pipelines/first.yaml" in irkit("init", "new").out
    assert first.read_text(encoding="utf-8") == "mine"
    Path("file").write_text("", encoding="utf-8")
    ended = irkit("init", "file/new")
    assert (ended.code, "cannot be made" in ended.err) == (2, True)


def test_search_answers_one_query(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "d", "-k", "2", "-p", "one")
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["1", "2.0000", "d6"], ["c", "c", "c", "d"], ["2", "2.0000", "d3"], ["b", "c", "d", "e"],
    ]  # fmt: skip


def test_search_reads_queries_until_the_input_ends(
    irkit: Irkit, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("e\nzzz\n"))
    ended = irkit("search", experiment, "-k", "1")
    assert ended.code == 0
    assert ended.out.split() == ["1", "0.5000", "d5", "a", "e", "no", "hits"]
    assert "two on data/test, 6 documents" in ended.err


def test_documents_cannot_steer_the_terminal(irkit: Irkit, experiment: Path) -> None:
    toys.write_beir(Path("data"), docs={"x": "a"})
    doc = {"_id": "y", "title": "one\x1b]0;two\x07", "text": "a\x00\x7f\x9b2J\x85\nend"}
    Path("data/corpus.jsonl").write_text(
        json.dumps(doc) + "\n" + json.dumps({"_id": "x", "text": "b"}), encoding="utf-8"
    )
    ended = irkit("search", experiment, "a", "end", "-p", "one")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.out)
    for piece in ("one\N{REPLACEMENT CHARACTER}]0;two", "end"):
        assert piece in ended.out


@pytest.mark.parametrize(
    ("option", "message"),
    [("-p", "there is no pipeline 'tow'"), ("-c", "there is no collection 'tow'")],
)
def test_search_with_a_wrong_name(irkit: Irkit, experiment: Path, option: str, message: str) -> None:
    ended = irkit("search", experiment, option, "tow", "query")
    assert (ended.code, message in ended.err) == (2, True)


def test_the_store_is_where_it_is_said_to_be(
    irkit: Irkit, experiment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    irkit("run", experiment, "--store", "there")
    assert Path("there/locks").is_dir()
    assert not Path("indexes").exists()
    monkeypatch.setenv("IRKIT_STORE", str(tmp_path / "elsewhere"))
    irkit("run", experiment)
    assert (tmp_path / "elsewhere" / "locks").is_dir()
    assert "nothing had changed" in irkit("run", experiment, "--store", "there").out


def test_the_workspace_is_where_it_is_said_to_be(irkit: Irkit, experiment: Path) -> None:
    here = Path.cwd()
    os.chdir("data")
    ended = irkit("run", "../first.yaml", "-w", here)
    assert ended.code == 0
    assert (here / "eval/runs/first/results.json").is_file()
    assert (here / "indexes").is_dir()
    ended = irkit("run", "../first.yaml", "-w", "none")
    assert (ended.code, "irkit init" in ended.err) == (2, True)


# Mistakes at the command line itself


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rnu",), "No such command"),
        (("run",), "Missing argument"),
        (("run", "none.yaml"), "none.yaml: cannot be read"),
        (("run", "."), "cannot be read"),
        (("validate", "first.yaml", "--threads", "2"), "No such option"),
        (("run", "first.yaml", "--threads", "0"), "--threads"),
        (("run", "first.yaml", "--device", "banana"), "there is no device 'banana'"),
        (("validate", "first.yaml", "--set", "x"), "expected KEY.KEY=VALUE"),
    ],
)
def test_refused(irkit: Irkit, experiment: Path, words: tuple[str, ...], message: str) -> None:
    ended = irkit(*words)
    assert (ended.code, ended.out) == (2, "")
    assert message in " ".join(ended.err.split())


def test_version(irkit: Irkit) -> None:
    from irkit import __version__

    assert irkit("--version").out == f"irkit {__version__}\n"


RECIPE = "name: mine\nkind: adapter\ndata: [beir/scifact/train]\nlicence: free\n"


def test_a_recipe_is_no_experiment_and_the_other_way_round(
    irkit: Callable[..., Any], experiment: Path
) -> None:
    Path("recipe.yaml").write_text(RECIPE, encoding="utf-8")
    for command in ("run", "plan", "search"):
        ended = irkit(command, "recipe.yaml")
        assert ended.code == 2 and ended.err.count("error:") == 1, command
        assert "a recipe of training, and no experiment" in ended.err
        assert "irkit train recipe.yaml" in ended.err
    ended = irkit("train", experiment)
    assert ended.code == 2 and ended.err.count("error:") == 1
    assert "an experiment, and no recipe" in ended.err and f"irkit run {experiment}" in ended.err


def test_the_schema_of_recipes(irkit: Callable[..., Any]) -> None:
    properties = json.loads(irkit("schema", "--recipe").out)["properties"]
    assert {"data", "negatives", "validation", "training"} <= properties.keys()
    assert "every" in properties["validation"]["properties"]
    assert "pipelines" in json.loads(irkit("schema").out)["properties"]
