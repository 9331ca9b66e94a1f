"""The command line as a process of its own: what it imports, Ctrl-C, a reader that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

HEAVY = (
    "torch",
    "numba",
    "jnius",
    "faiss",
    "ranx",
    "ir_datasets",
    "transformers",
    "sentence_transformers",
    "pyserini",
)
MAIN = "import toys; toys.register_all(); from irkit.cli.app import main; main()"
TEXT = """\
name: first
collections: [{path: data}]
metrics: [ndcg@10]
pipelines:
  one: [toy-slow: {delay: 0.3}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toys.write_beir(tmp_path / "data", queries={f"q{i}": f"a b {i}" for i in range(60)})
    (tmp_path / "first.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def start(folder: Path, code: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": toys.python_path()}
    environment.pop("IRKIT_STORE", None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    "code",
    [
        "import irkit",
        "import irkit; irkit.bm25(k=5) + irkit.dense(model='minilm')",
        "import sys; sys.argv[1:] = ['--help']\ntry:\n from irkit.cli.app import main; main()\nexcept SystemExit: pass",
        "import sys; sys.argv[1:] = ['schema']\ntry:\n from irkit.cli.app import main; main()\nexcept SystemExit: pass",
        "import sys; sys.argv[1:] = ['validate', 'heavy.yaml']\n"
        "try:\n from irkit.cli.app import main; main()\nexcept SystemExit as e: assert not e.code",
    ],
    ids=["import", "stages", "help", "schema", "validate"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, folder: Path) -> None:
    heavy = TEXT.replace("[toy-slow: {delay: 0.3}]", "[bm25, cross-encoder: {model: minilm}]")
    (folder / "heavy.yaml").write_text(heavy, encoding="utf-8")
    report = f"\nimport sys; print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    out, err = start(folder, code + report).communicate(timeout=60)
    assert out.splitlines()[-1:] == ["loaded:"], out + err


def test_a_second_run_loads_nothing_heavy(folder: Path) -> None:
    code = f"try:\n {MAIN}\nexcept SystemExit as e: assert not e.code\n"
    report = f"import sys; print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    words = ("run", "first.yaml", "--set", "pipelines.one.toy-slow.delay=0")
    for _ in range(2):
        out, err = start(folder, code + report, *words).communicate(timeout=60)
    assert "nothing had changed" in out, out + err
    assert out.splitlines()[-1] == "loaded:"


def test_ctrl_c_ends_with_130_and_a_word_and_keeps_what_was_finished(folder: Path) -> None:
    process = start(folder, MAIN, "run", "first.yaml")
    deadline = time.monotonic() + 60
    while len(list(folder.glob("indexes/building/*/shards/*/keys.txt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted; what was finished is kept" in err
    assert "Traceback" not in err
    words = ("run", "first.yaml", "--set", "pipelines.one.toy-slow.delay=0")
    process = start(folder, MAIN, *words)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_ctrl_c_while_the_command_line_is_loading(folder: Path) -> None:
    code = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

from irkit.__main__ import main
sys.meta_path.insert(0, Interrupting())
main()
"""
    process = start(folder, code, "schema")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err


def test_the_package_is_a_command_too(folder: Path) -> None:
    process = start(
        folder, "import runpy; runpy.run_module('irkit', run_name='__main__', alter_sys=True)", "--version"
    )
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.split()[0]) == (0, "irkit")


@pytest.mark.parametrize("words", [("schema",), ("store", "ls"), ("plan", "first.yaml"), ("--help",)])
def test_a_reader_that_goes_away_gets_no_traceback(folder: Path, words: tuple[str, ...]) -> None:
    process = start(folder, MAIN, *words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_search_ends_with_its_input(folder: Path) -> None:
    process = start(folder, MAIN, "search", "first.yaml", "--set", "pipelines.one.toy-slow.delay=0")
    out, err = process.communicate("a e\n\nnever read\n", timeout=60)
    assert (process.returncode, "d5" in out) == (0, True), err
