"""`irkit run` killed at random moments, and two of it at once: the scores are the same, the work is not done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys

from irkit.store import Store

MAIN = "import toys; toys.register_all(); from irkit.cli.app import main; main()"
QUERIES = {f"q{i}": f"a b c {i} d{i % 5}" for i in range(24)}
DOCS = {**toys.DOCS, **{f"x{i}": f"a d{i % 5} e" for i in range(10)}}
TEXT = """\
name: killed
collections: [{path: data}]
metrics: [ndcg@10, recall@2]
pipelines:
  slow: [toy-slow: {delay: 0.02}, toy-rerank]
  both:
    - fuse: {of: [[toy-indexed: {delay: 0.03}], [toy-slow: {delay: 0.02}]]}
    - toy-rerank: {bonus: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiment, run once without disturbance in ``whole``."""
    folder = tmp_path_factory.mktemp("kill")
    toys.write_beir(folder / "data", DOCS, QUERIES)
    (folder / "killed.yaml").write_text(TEXT, encoding="utf-8")
    finish(start(folder, "whole"))
    return folder


def start(folder: Path, place: str) -> subprocess.Popen[str]:
    """Start a run with a store and results of its own."""
    (folder / place).mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": toys.python_path()}
    environment[toys.LOG] = str(folder / place / "log")
    environment.pop("IRKIT_STORE", None)
    (folder / place / "data").is_symlink() or (folder / place / "data").symlink_to(folder / "data")
    command = [sys.executable, "-c", MAIN, "run", "../killed.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        command, cwd=folder / place, env=environment, text=True, start_new_session=True, **pipes
    )  # type: ignore[call-overload,no-any-return]


def finish(process: subprocess.Popen[str]) -> None:
    try:
        out, err = process.communicate(timeout=120)
    except BaseException:  # it has a process group of its own: it would outlive the test
        kill(process)
        raise
    assert process.returncode == 0, out + err


def kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def results(folder: Path, place: str) -> dict[str, bytes]:
    runs = folder / place / "eval" / "runs" / "killed" / "runs"
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.rglob("*.trec"))}


def counted(folder: Path, place: str) -> list[str]:
    log = folder / place / "log"
    return sorted(log.read_text(encoding="utf-8").splitlines()) if log.exists() else []


def check_store(folder: Path, place: str) -> None:
    store = Store(folder / place / "indexes")
    assert list(store.verify()) == []
    assert list(store.unfinished()) == []
    assert not any(artifact.meta.get("chunk") for artifact in store.artifacts())


def test_killed_runs_go_on_and_end_the_same(folder: Path) -> None:
    chance, kills = random.Random(11), 3
    for attempt in range(kills):
        process = start(folder, "killed")
        before, work = (
            len(counted(folder, "killed")),
            chance.randrange(2, 15),
        )  # die after so many shards and chunks
        deadline = time.monotonic() + 60
        while len(counted(folder, "killed")) < before + work and time.monotonic() < deadline:
            assert process.poll() is None, f"it ended before kill {attempt + 1}"
            time.sleep(0.002)
        kill(process)
        assert list(Store(folder / "killed" / "indexes").verify()) == []
    finish(start(folder, "killed"))
    assert results(folder, "killed") == results(folder, "whole")
    assert len(results(folder, "whole")) == 2
    check_store(folder, "killed")
    shards = [
        sum(line.startswith("shard") for line in counted(folder, place)) for place in ("whole", "killed")
    ]
    assert shards[0] == len(DOCS)
    assert shards[1] <= shards[0] + kills, "finished shards were made again"


def test_two_runs_at_once_share_the_work(folder: Path) -> None:
    both = [start(folder, "together") for _ in range(2)]
    for process in both:
        finish(process)
    assert results(folder, "together") == results(folder, "whole")
    check_store(folder, "together")
    work = ("shard", "run toy-")
    done = {
        place: [line for line in counted(folder, place) if line.startswith(work)]
        for place in ("together", "whole")
    }
    assert done["together"] == done["whole"], "something was computed twice"
