"""The store among processes: one builds while the others wait, and a process killed at any moment leaves nothing half-written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from irkit.store import Build, Recipe, Store

RECIPE = Recipe("numbers", {"to": 40})

BUILDER = """
import sys, time
from pathlib import Path
from irkit.store import Build, Recipe, Store

root, log = Path(sys.argv[1]), Path(sys.argv[2])

def note(word):
    with log.open("a") as file:
        file.write(word + "\\n")

def build(build: Build):
    note("build")
    parts = []
    for number in range(40):
        def write(path, number=number):
            path.mkdir()
            for half in ("a", "b"):
                (path / half).write_text(f"{number}{half}\\n" * 50)
                time.sleep(0.001)
            note("shard")
        parts.append(build.shard(str(number), write))
    with build.path("all.txt").open("w") as file:
        for part in parts:
            for half in ("a", "b"):
                file.write((part / half).read_text())
                time.sleep(0.0005)
    return {"shards": len(parts)}

note("start")
artifact = Store(root).get(Recipe("numbers", {"to": 40}), build)
print(artifact.file("all.txt").stat().st_size)
"""


def start(root: Path, log: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count(log: Path, word: str) -> int:
    return log.read_text(encoding="utf-8").split().count(word) if log.exists() else 0


def whole() -> str:
    return "".join(f"{number}{half}\n" * 50 for number in range(40) for half in "ab")


def test_four_processes_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(tmp_path / "store", log) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert {out.strip() for out, _ in outputs} == {str(len(whole()))}
    assert count(log, "start") == 4
    assert count(log, "build") == 1
    assert count(log, "shard") == 40


def test_a_process_killed_at_any_moment_leaves_a_store_that_goes_on(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    chance = random.Random(5)
    kills = 0
    for attempt in range(8):
        process = start(store.root, log)
        while count(log, "start") <= attempt and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.08)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert list(store.verify()) == []
        found = store.find(RECIPE)
        if found is not None:
            assert found.file("all.txt").read_text(encoding="utf-8") == whole()
    assert kills, "no process was killed while it worked"
    process = start(store.root, log)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors

    def never(build: Build) -> dict[str, int]:
        raise AssertionError

    assert store.get(RECIPE, never).file("all.txt").read_text(encoding="utf-8") == whole()
    assert list(store.verify()) == []
    assert list(store.unfinished()) == []
    assert count(log, "shard") < 40 + kills + 1, "finished shards were made again"
