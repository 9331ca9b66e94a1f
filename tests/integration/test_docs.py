"""Every code block of the documentation does what the text around it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from inspect import signature
from pathlib import Path

import pytest
from toys import write_beir
from typer.main import get_command

import irkit
from irkit.api.chosen import chosen
from irkit.cli.app import app, main
from irkit.cli.limit import read_dims
from irkit.config.experiment import load_experiment
from irkit.data.published import read_published
from irkit.pipeline import registry
from irkit.testing import check_stage
from irkit.train.__main__ import main as fit_file

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[tuple[str, str]]:
    return FENCE.findall((ROOT / name).read_text(encoding="utf-8"))


def command(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_every_block_of_the_documentation_is_tested_here() -> None:
    expected = {
        "README.md": ["sh", "yaml", "sh", "python", "python", "toml"],
        "docs/architecture.md": [],
        "docs/limit.md": ["yaml", "sh", "sh", "sh"],
        "docs/benchmarks.md": ["sh", "yaml", "json", "yaml"],
        "docs/multi-vector.md": ["yaml", "yaml"],
        "docs/query-side.md": ["yaml", "yaml", "sh"],
        "docs/report.md": ["yaml", "sh"],
        "docs/rerankers.md": ["yaml", "sh", "sh", "yaml"],
        "docs/training.md": ["yaml", "sh", "yaml", "yaml", "yaml", "yaml", "sh"],
        "CONTRIBUTING.md": ["sh"],
        "indexes/README.md": [""],
    }
    assert {name: [language for language, _ in blocks(name)] for name in expected} == expected
    others = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")} | {
        "eval/runs/README.md",
        "CHANGELOG.md",
    }
    assert all(not blocks(name) for name in others - set(expected))


@pytest.mark.parametrize(("name", "block"), [("README.md", 0), ("CONTRIBUTING.md", 0)])
def test_make_targets_exist(name: str, block: int) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in blocks(name)[block][1].strip().splitlines():
        make, target = command(line)
        assert make == "make"
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    ("page", "block"),
    [
        ("docs/limit.md", 0),
        ("docs/benchmarks.md", 1),
        ("docs/multi-vector.md", 0),
        ("docs/multi-vector.md", 1),
        ("docs/query-side.md", 0),
        ("docs/query-side.md", 1),
        ("docs/report.md", 0),
        ("docs/rerankers.md", 0),
        ("docs/rerankers.md", 3),
    ],
)
def test_experiments_are_sound(
    page: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiment.yaml").write_text(blocks(page)[block][1], encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["validate", "experiment.yaml"])
    assert ended.value.code in (0, None)


@pytest.mark.parametrize("block", [0, 2, 3, 4, 5])
def test_training_is_sound(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_beir(Path("tasks/scifact-keyword"))
    judged = write_beir(Path("data/ours")) / "qrels" / "test.tsv"
    judged.with_name("train.tsv").write_text(judged.read_text(encoding="utf-8"), encoding="utf-8")
    Path("recipe.yaml").write_text(blocks("docs/training.md")[block][1], encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["validate", "recipe.yaml"])
    assert ended.value.code in (0, None)


@pytest.mark.parametrize("block", [1, 6])
def test_the_commands_of_training_are_commands(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in blocks("docs/training.md")[block][1].strip().splitlines():
        program, *arguments = command(line)
        if program == "python":
            assert arguments[:2] == ["-m", "irkit.train"]
            assert fit_file(arguments[2:]) == 2  # the file is not there
            assert "the examples cannot be read" in capsys.readouterr().err
        else:
            assert program == "irkit"
            get_command(app).commands[arguments[0]].make_context(arguments[0], arguments[1:])  # type: ignore[attr-defined]


def test_ten_lines_are_enough_to_train_a_reranker() -> None:
    assert len(blocks("docs/training.md")[0][1].strip().splitlines()) <= 10


def test_the_pieces_of_a_suite_are_named_as_the_page_names_them() -> None:
    for line in blocks("docs/benchmarks.md")[0][1].strip().splitlines():
        _, run, suite, only, names = command(line)
        assert (run, only) == ("run", "--only")
        assert chosen(load_experiment(ROOT / suite), names.split(","))


def test_published_scores_of_ones_own_have_the_form_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "our-paper.json"
    path.write_text(blocks("docs/benchmarks.md")[2][1], encoding="utf-8")
    assert read_published(path).scores == {"beir/scifact/test": {"ndcg@10": 0.731}}


def test_two_sets_of_judgements_are_two_collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = blocks("docs/benchmarks.md")[3][1]
    for name in re.findall(r"browsecomp/[\w.]+", text):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("experiment.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["validate", "experiment.yaml"])
    assert ended.value.code in (0, None)


def test_the_search_that_explains_is_a_command() -> None:
    program, name, *arguments = command(blocks("docs/rerankers.md")[2][1])
    assert (program, name) == ("irkit", "search")
    searching = next(
        each for each in app.registered_commands if each.callback and each.callback.__name__ == name
    )
    assert "explain" in signature(searching.callback).parameters  # type: ignore[arg-type]
    assert "--explain" in arguments


def test_the_growth_of_limit_is_two_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("limit-sizes.yaml").touch()
    run, growth = (command(line) for line in blocks("docs/limit.md")[1][1].strip().splitlines())
    assert run[:2] == ["irkit", "run"] and growth[:3] == ["irkit", "limit", "growth"]
    group = get_command(app).commands  # type: ignore[attr-defined]
    group["run"].make_context("run", run[2:])
    given = group["limit"].commands["growth"].make_context("growth", growth[3:]).params
    assert given["runs"] == [Path("eval/runs/limit-sizes")]


@pytest.mark.parametrize("block", [2, 3])
def test_the_curves_of_limit_are_commands(block: int) -> None:
    program, *arguments = command(blocks("docs/limit.md")[block][1])
    assert (program, *arguments[:2]) == ("irkit", "limit", "curve")
    group = get_command(app)
    for name in arguments[:2]:
        group = group.commands[name]  # type: ignore[attr-defined]
    given = group.make_context("curve", arguments[2:]).params
    assert read_dims(given["dims"], "--dims")[0] == 4


def test_the_commands_around_the_report_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("looked-into.yaml").touch()
    for folder in ("looked-into", "hybrid"):
        (tmp_path / "eval" / "runs" / folder).mkdir(parents=True)
    for line in blocks("docs/report.md")[1][1].strip().splitlines():
        program, name, *arguments = command(line)
        assert program == "irkit"
        get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


@pytest.mark.model
@pytest.mark.java
def test_readme_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = blocks("README.md")
    Path("hybrid.yaml").write_text(shown[1][1], encoding="utf-8")
    for line in shown[2][1].strip().splitlines():
        program, *arguments = command(line)
        assert program == "irkit"
        if arguments[0] == "search":
            arguments += ["who", "likes", "tea"]
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert not exit_.value.code, line
    page = tmp_path / "eval" / "runs" / "hybrid" / "report.html"
    assert page.is_file()
    capsys.readouterr()

    exec(compile(shown[3][1], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert irkit.load_experiment(Path("hybrid.yaml")).pipelines["hybrid-maxsim"].to_data() == (
        irkit.Experiment.of(
            "same",
            collections=["irkit/limit-synthetic"],
            metrics=["ndcg@10"],
            pipelines={
                "it": (irkit.bm25(k=100) + irkit.dense(model="minilm", k=100)) % 50
                >> irkit.maxsim(model="minilm")
            },
        )
        .pipelines["it"]
        .to_data()
    )
    assert 0.5 < float(printed.strip().splitlines()[-1]) <= 1


def test_readme_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    shown = blocks("README.md")
    names: dict[str, object] = {"__name__": "my_stages"}
    exec(compile(shown[4][1], "my_stages.py", "exec"), names)
    entry = tomllib.loads(shown[5][1])["project"]["entry-points"]["irkit.stages"]
    assert entry == {"shout": "my_stages:Shout"}
    irkit.register("shout")(names["Shout"])
    stage = irkit.make_stage("shout", mark="?")
    check_stage(stage, tmp_path)
