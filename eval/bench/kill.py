"""Kill -9 at random moments: is the next run right, does it do less, and is the store sound?

An experiment of BM25, dense retrieval, their fusion and MaxSim is run once without disturbance, for its run files and its time.
Then, each time in a fresh workspace, it is started, killed with its whole process group after a random delay, and run again to
the end. Checked: the run files are byte for byte those of the undisturbed run, every artifact that the killed run had finished
is still the same and was not built again, and `irkit store verify` finds nothing. Any failure ends the script with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

IRKIT = str(Path(sys.executable).with_name("irkit"))
EXPERIMENT = """\
name: kill
collections: ["{collection}"]
metrics: [ndcg@10, recall@2]
pipelines:
  bm25: [bm25: {{k: 100}}]
  dense: [dense: {{model: minilm, k: 100}}]
  rrf-maxsim:
    - fuse: {{of: [[bm25: {{k: 100}}], [dense: {{model: minilm, k: 100}}]]}}
    - maxsim: {{model: minilm}}
  maxsim: [maxsim: {{model: minilm, k: 100}}]
"""


class Cost(NamedTuple):
    """What a run took. Work is told by CPU seconds: the clock on the wall also measures whoever shares the machine."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """Return the CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a run that this script started, with its process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@dataclass
class Workspace:
    """A folder with the experiment, its store and its results."""

    folder: Path

    def start(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "IRKIT_STORE"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        command = [IRKIT, "run", "kill.yaml"]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, start_new_session=True, **pipes
        )  # type: ignore[call-overload,no-any-return]

    def run(self) -> Cost:
        """Run to the end."""
        started, before = time.perf_counter(), cpu_seconds()
        process = self.start()
        try:
            output, _ = process.communicate()
        except BaseException:  # the run has a process group of its own: it would outlive this script
            kill(process)
            raise
        if process.returncode:
            sys.exit(f"{self.folder}: the run failed with status {process.returncode}:\n{output}")
        return Cost(time.perf_counter() - started, cpu_seconds() - before)

    def run_killed(self, delay: float) -> bool:
        """Return whether the run was still under way after ``delay`` seconds."""
        process = self.start()
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            kill(process)
            return True
        except BaseException:
            kill(process)
            raise
        return False

    def results(self) -> dict[str, bytes]:
        runs = self.folder / "eval" / "runs" / "kill" / "runs"
        return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.rglob("*.trec"))}

    def finished(self) -> dict[str, tuple[str, str]]:
        """Return kind and time of every finished artifact but chunks, which the whole replaces."""
        manifests = [
            json.loads(path.read_text(encoding="utf-8"))
            for path in self.folder.glob("indexes/[0-9a-f][0-9a-f]/*/manifest.json")
        ]
        return {m["key"]: (m["kind"], m["created"]) for m in manifests if not m["meta"].get("chunk")}

    def under_way(self) -> str:
        """Return what was being built when the run was killed, and how many shards of it were finished."""
        found = []
        for path in sorted(self.folder.glob("indexes/building/*/recipe.json")):
            kind = json.loads(path.read_text(encoding="utf-8"))["kind"]
            shards = path.parent / "shards"
            done = (
                sum(not each.name.endswith(".partial") for each in shards.iterdir()) if shards.is_dir() else 0
            )
            found.append(f"{kind} ({done} shards)" if done else kind)
        return ", ".join(found) or "nothing"

    def verify(self) -> str:
        done = subprocess.run(
            [IRKIT, "store", "verify"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


def make(folder: Path, collection: str) -> Workspace:
    folder.mkdir()
    (folder / "kill.yaml").write_text(EXPERIMENT.format(collection=collection), encoding="utf-8")
    return Workspace(folder)


def trial(
    workspace: Workspace, delay: float, reference: dict[str, bytes]
) -> tuple[bool, list[str], str, Cost]:
    """Kill and run again; return whether it was killed, the faults, what was under way, and the cost of the rerun."""
    killed = workspace.run_killed(delay)
    under_way, before = workspace.under_way(), workspace.finished()
    faults = [f"verify after the kill: {found}"] if (found := workspace.verify()) else []
    cost = workspace.run()
    after = workspace.finished()
    if workspace.results() != reference:
        faults.append("other run files")
    lost = [kind for key, (kind, created) in before.items() if after.get(key) != (kind, created)]
    if lost:
        faults.append(f"built again: {', '.join(lost)}")
    if found := workspace.verify():
        faults.append(f"verify: {found}")
    if leftovers := workspace.under_way().replace("nothing", ""):
        faults.append(f"left in building/: {leftovers}")
    return killed, faults, f"{under_way}; {len(before)} of {len(after)} finished", cost


def main() -> None:
    """Kill as often as asked, print a table, and exit with status 1 when anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--collection", default="irkit/limit-synthetic?n=46")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run in progress is ended too
    with tempfile.TemporaryDirectory() as folder:
        make(
            Path(folder) / "warm", arguments.collection
        ).run()  # compiled code and files in the page cache, for all alike
        whole = make(Path(folder) / "whole", arguments.collection)
        full, reference = whole.run(), whole.results()
        print(
            f"undisturbed: {full.wall:.1f} s, {full.cpu:.1f} s CPU, {len(reference)} run files, {len(whole.finished())} artifacts\n"
        )
        print(
            "| kill | after s | under way when killed | rerun s | rerun CPU s | CPU saved | faults |\n"
            + "|---" * 7
            + "|",
            flush=True,
        )
        faulty, saved, kills = 0, [], 0
        while kills < arguments.kills:
            workspace = make(
                Path(folder) / f"trial{kills}-{chance.getrandbits(32):08x}", arguments.collection
            )
            delay = chance.uniform(0, full.wall)
            killed, faults, under_way, cost = trial(workspace, delay, reference)
            if not killed:  # it was faster than the undisturbed run: another moment
                continue
            kills += 1
            faulty += bool(faults)
            saved.append(1 - cost.cpu / full.cpu)
            cells = (
                kills,
                f"{delay:.1f}",
                under_way,
                f"{cost.wall:.1f}",
                f"{cost.cpu:.1f}",
                f"{saved[-1]:.0%}",
                "; ".join(faults) or "none",
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(
        f"\n{kills} kills, {faulty} with faults; median CPU time saved by the rerun {statistics.median(saved):.0%}"
    )
    sys.exit(1 if faulty else 0)


if __name__ == "__main__":
    main()
