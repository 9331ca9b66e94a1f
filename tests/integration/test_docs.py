"""Every code block of the documentation does what the text around it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from inspect import signature
from pathlib import Path

import pytest

import irkit
from irkit.cli.app import app, main
from irkit.pipeline import registry
from irkit.testing import check_stage

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
        "docs/multi-vector.md": ["yaml", "yaml"],
        "docs/query-side.md": ["yaml", "yaml", "sh"],
        "docs/rerankers.md": ["yaml", "sh", "sh", "yaml"],
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
        ("docs/multi-vector.md", 0),
        ("docs/multi-vector.md", 1),
        ("docs/query-side.md", 0),
        ("docs/query-side.md", 1),
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


def test_the_search_that_explains_is_a_command() -> None:
    program, name, *arguments = command(blocks("docs/rerankers.md")[2][1])
    assert (program, name) == ("irkit", "search")
    searching = next(
        each for each in app.registered_commands if each.callback and each.callback.__name__ == name
    )
    assert "explain" in signature(searching.callback).parameters  # type: ignore[arg-type]
    assert "--explain" in arguments


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
