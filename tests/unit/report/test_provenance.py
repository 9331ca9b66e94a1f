"""Provenance says what is true, and loads nothing to say it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from irkit.report import provenance


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/opt/env/bin/irkit", "run", "a.yaml"], "irkit run a.yaml"),
        (["/x/irkit/__main__.py", "run"], "python -m irkit run"),
        (["my script.py", "a"], "python 'my script.py' a"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_command(argv: list[str], command: str) -> None:
    assert provenance.command_line(argv) == command


def test_the_command_survives_the_shell() -> None:
    words = ["irkit", "run", "a b.yaml", "--set", "x='$HOME'; rm \"*\""]
    assert shlex.split(provenance.command_line(words)) == words


def _git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_git_state(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) is None
    _git(tmp_path, "init", "--initial-branch", "trunk")
    assert provenance.git_state(tmp_path) == {"commit": None, "branch": "trunk", "dirty": False}
    (tmp_path / "a").write_text("1")
    _git(tmp_path, "add", "a")
    _git(tmp_path, "commit", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("1")
    assert provenance.git_state(tmp_path) == {"commit": commit, "branch": "trunk", "dirty": False}
    (tmp_path / "a").write_text("2")
    _git(tmp_path, "checkout", "--detach")
    assert provenance.git_state(tmp_path) == {"commit": commit, "branch": None, "dirty": True}


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) == {"error": "git is not installed"}


@pytest.mark.parametrize(
    ("script", "says"),
    [("exec sleep 30", "did not answer"), ("echo 'fatal: dubious' >&2; exit 128", "fatal: dubious")],
)
def test_a_git_that_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    state = provenance.git_state(tmp_path, timeout=0.3)
    assert state is not None
    assert says in state["error"]


def test_collect(tmp_path: Path) -> None:
    found = provenance.collect(tmp_path, ["irkit", "run"])
    assert found.command == "irkit run"
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["numpy"] == version("numpy")
    assert found.created.endswith("+00:00")
    assert found.cpus >= 1
    assert found.git is None


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from irkit.report import build, provenance, text;"
        "provenance.collect(Path('.'));"
        "print([m for m in ('torch','numba','ranx','jnius','faiss','transformers','jinja2','rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
