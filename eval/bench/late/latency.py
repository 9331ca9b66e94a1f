"""Latency of one query on one thread, against recall: irkit's methods and its peers over the same token vectors.

Every method runs in a process of its own, bound to one CPU, with one thread for every library; the processes take
turns, setting by setting, and one query is one call (k = 100). A query's time is the median over the turns; the
first turn does not count.
Recall is the share of exact MaxSim's first 10 documents among a method's first 10.
What reranks by exact MaxSim reads the float16 tokens besides its index, and has a table of its own: peers score from their
index alone. Above 100,000 documents only irkit's ``xtr`` and ``muvera-pq`` are built, and exact MaxSim tells the truth untimed.
Indexes are built once and kept in the work folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from late.corpus import DIM, TOKENS, Spliced, open_source
from late.ours import METHODS

BENCH = Path(__file__).resolve().parents[1]
TOP = 10
K = 100
TARGETS = (0.9, 0.95, 0.98)
_ALL = 100_000
"""Documents up to which every method is built; above, those of ``_LARGE``."""
_LARGE = ("xtr", "muvera-pq")
_KEPT = ("tokens", "token-store")
"""Artifacts of token vectors, which are no index."""


def environment(threads: int) -> dict[str, str]:
    """Return the variables that give every library so many threads, and keep them off the network and the GPU."""
    names = (
        "OMP",
        "MKL",
        "OPENBLAS",
        "NUMEXPR",
        "RAYON",
        "NUMBA",
    )
    limits = {f"{name}_NUM_THREADS": str(threads) for name in names}
    others = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(BENCH)}
    return {**os.environ, **limits, **others}


def run(command: Sequence[str], threads: int, timeout: float) -> dict[str, Any] | None:
    """Run a process that builds something; return the JSON of its last line, or None when it took too long."""
    try:
        done = subprocess.run(
            command, env=environment(threads), capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        sys.exit(f"failed ({done.returncode}): {' '.join(command)}\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


@dataclass
class Method:
    """A method over one corpus: how it is built and served, and what was measured."""

    name: str
    command: list[str]
    build: dict[str, Any]
    settings: list[dict[str, Any]]
    seconds: dict[str, list[list[float]]] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    rss: int = 0
    timed: bool = True
    process: subprocess.Popen[str] | None = None

    def start(self, cpu: int) -> None:
        """Start the process that answers queries; where it brings settings of its own, take them."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(1),
        )
        os.sched_setaffinity(self.process.pid, {cpu})
        self.settings = self._read().get("settings", self.settings)

    def ask(self, setting: dict[str, Any], queries: Sequence[int], k: int = K) -> dict[str, Any]:
        """Let it answer some queries, one by one."""
        assert self.process
        assert self.process.stdin
        message = {"setting": setting, "queries": list(queries), "k": k, "show": TOP}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        self.rss = max(self.rss, int(answer["rss"]))
        return answer

    def stop(self) -> None:
        """End its process."""
        assert self.process
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        sys.exit(f"the process ended: {' '.join(self.command)}")


def prepare(
    work: Path,
    collections: Sequence[Path],
    documents: int,
    methods: Sequence[str],
    peers: dict[str, str],
    *,
    threads: int,
    timeout: float,
    copies: float | None = None,
) -> list[Method]:
    """Build everything for a corpus of so many documents, what is not there yet; the token store first, which all share."""
    if documents > _ALL:
        methods, peers = [name for name in methods if name in _LARGE], {}
    place = str(documents) if copies is None else f"{documents}-{copies:.2f}"
    given = ["--corpus", "spliced", "--documents", str(documents), "--work", str(work), "--collection"]
    given += map(str, collections)
    given += [] if copies is None else ["--copies", str(copies)]
    kept = work / "built" / place
    kept.mkdir(parents=True, exist_ok=True)

    def built(name: str, command: Sequence[str]) -> dict[str, Any] | None:
        file = kept / f"{name}.json"
        if not file.exists():
            print(f"building {name} over {documents:,} documents ...", flush=True)
            record = run(command, threads, timeout)
            if record is None:
                print(
                    f"{name}: building over {documents:,} documents took more than {timeout:.0f} s, left out"
                )
                return None
            print(f"{name}: built in {record['seconds']:.0f} s. {record.get('note', '')}", flush=True)
            file.write_text(json.dumps(record))
        answer: dict[str, Any] = json.loads(file.read_text())
        return answer

    ready = []
    for name in ("maxsim", *(name for name in methods if name != "maxsim")):
        command = [sys.executable, "-m", "late.ours"]
        record = built(name, [*command, "build", name, *given, "--threads", str(threads)])
        if record:
            ready.append(Method(f"irkit {name}", [*command, "serve", name, *given], record, METHODS[name][2]))
            ready[-1].timed = name in methods
    tokens = ready[0].build["tokens"]
    queries = work / "queries"
    for name, python in peers.items():
        files = [
            "--tokens",
            tokens,
            "--queries",
            str(queries),
            "--index",
            str(work / "peers" / name / place),
        ]
        command = [python, str(BENCH / "late" / "peers.py")]
        record = built(name, [*command, "build", name, *files, "--threads", str(threads)])
        if record:
            ready.append(Method(name, [*command, "serve", name, *files], record, []))
    return ready


def measure(methods: list[Method], queries: Sequence[int], turns: int, cpu: int) -> None:
    """Let the methods answer in turns; the first turn warms up, and tells the recall."""
    for method in methods:
        method.start(cpu)
    truth = methods[0].ask({}, queries)["found"]
    for turn in range(turns + 1):
        for method in filter(lambda method: method.timed, methods):
            for setting in method.settings:
                key = json.dumps(setting)
                answer = method.ask(setting, queries)
                if turn:
                    method.seconds.setdefault(key, []).append(answer["seconds"])
                else:
                    hits = [len(set(a) & set(b)) for a, b in zip(truth, answer["found"], strict=True)]
                    method.recall[key] = sum(hits) / sum(map(len, truth))
    for method in methods:
        method.stop()


def times(method: Method, key: str) -> tuple[float, float]:
    """Return the 50th and the 95th percentile of the queries' times, in milliseconds."""
    each = np.median(np.array(method.seconds[key]), axis=0) * 1e3
    return float(np.percentile(each, 50)), float(np.percentile(each, 95))


def reranks(method: Method, key: str) -> bool:
    """Whether a setting scores its documents by exact MaxSim of the float16 tokens, beside an index of something else."""
    return method.name.startswith("irkit muvera") or "rerank" in json.loads(key)


def index_bytes(method: Method) -> tuple[float, float]:
    """Return the bytes of the index, and of the token vectors beside it; exact MaxSim's index is the token vectors."""
    size = method.build["bytes"]
    if not isinstance(size, dict):
        return size, 0
    beside = sum(size[kind] for kind in size if kind in _KEPT)
    index = sum(size.values()) - beside
    return (index, beside) if index else (beside, 0)


def report(documents: int, methods: list[Method], tokens: float) -> None:
    """Print the curve of every method, and the fastest setting of each that reaches a recall."""
    print(
        f"\n### {documents:,} documents x {TOKENS} tokens x {DIM}, queries of {tokens:.1f} tokens on average"
    )
    for after, title in ((False, "Scores from the index alone"), (True, "Reranked from float16 tokens")):
        rows = [(m, key) for m in methods for key in m.recall if reranks(m, key) == after]
        if rows:
            _table(f"{title}:", rows, documents)
    print(f"\n| fastest p50 in ms at a recall of at least | {' | '.join(map(str, TARGETS))} |")
    print(f"|---|{'---|' * len(TARGETS)}")
    for after in (False, True):
        for method in methods:
            found = [
                (times(method, k)[0], r) for k, r in method.recall.items() if reranks(method, k) == after
            ]
            if found:
                good = [[p50 for p50, recall in found if recall >= target] for target in TARGETS]
                cells = [f"{min(each):.2f}" if each else "not reached" for each in good]
                print(f"| {method.name}{', reranked' if after else ''} | {' | '.join(cells)} |", flush=True)


def _table(title: str, rows: list[tuple[Method, str]], documents: int) -> None:
    head: tuple[str, ...] = ("method", "setting", "recall of exact top 10", "p50 ms", "p95 ms")
    head += ("index, bytes a token", "tokens it reads too, bytes a token", "built in s", "RSS GB")
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for method, key in rows:
        p50, p95 = times(method, key)
        setting = " ".join(f"{name}={value}" for name, value in json.loads(key).items()) or "-"
        index, beside = (size / documents / TOKENS for size in index_bytes(method))
        read = f"{beside:.0f}" if reranks(method, key) else "-"
        print(
            f"| {method.name} | {setting} | {method.recall[key]:.3f} | {p50:.2f} | {p95:.2f} "
            f"| {index:.1f} | {read} | {method.build['seconds']:.0f} | {method.rss / 1e9:.2f} |"
        )
    for method in {id(method): method for method, _ in rows}.values():
        if method.build.get("note"):
            print(f"\n{method.name} ({method.build.get('package', 'irkit')}): {method.build['note']}.")


def growth(results: dict[int, list[Method]]) -> None:
    """Print how each method's p50 at its widest setting grows from the smallest corpus to the largest it ran on."""
    print(
        "\n| method | setting | "
        + " | ".join(f"{n:,}" for n in results)
        + " | grows as documents to the power of |"
    )
    print("|---|---|" + "---|" * (len(results) + 1))
    names = {method.name for methods in results.values() for method in methods}
    for name in sorted(names):
        rows = {n: m for n, methods in results.items() for m in methods if m.name == name}
        keys = [
            key for key in next(iter(rows.values())).recall if all(key in m.recall for m in rows.values())
        ]
        for key in keys[-1:]:
            at = {n: times(m, key)[0] for n, m in rows.items()}
            power = "-"
            if len(at) > 1:
                power = f"{np.log(at[max(at)] / at[min(at)]) / np.log(max(at) / min(at)):.2f}"
            cells = [
                f"{at[n]:.2f} ms (recall {rows[n].recall[key]:.3f})" if n in at else "-" for n in results
            ]
            print(f"| {name} | {key} | {' | '.join(cells)} | {power} |")


def main(
    work: Path,
    collections: Sequence[Path],
    sizes: Sequence[int],
    methods: Sequence[str],
    peers: dict[str, str],
    *,
    threads: int,
    timeout: float,
    n_queries: int,
    turns: int,
) -> None:
    """Build, measure and print, corpus by corpus."""
    source = open_source("spliced", work, collections)
    assert isinstance(source, Spliced)
    (work / "queries").mkdir(exist_ok=True)
    np.save(work / "queries" / "offsets.npy", source.queries.offsets)
    np.save(work / "queries" / "tokens.npy", source.queries.vectors)
    lengths = np.diff(source.queries.offsets)
    usable = np.flatnonzero(lengths > 0)
    chosen = usable[:: max(1, len(usable) // n_queries)][:n_queries]

    def measured(
        size: int, names: Sequence[str], others: dict[str, str], copies: float | None
    ) -> list[Method]:
        started = time.perf_counter()
        ready = prepare(
            work, collections, size, names, others, threads=threads, timeout=timeout, copies=copies
        )
        middle = time.perf_counter()
        measure(ready, chosen.tolist(), turns, max(os.sched_getaffinity(0)))
        building, measuring = middle - started, time.perf_counter() - middle
        print(f"\n{size:,} documents: building {building:.0f} s, measuring {measuring:.0f} s", flush=True)
        return ready

    results = {}
    for size in sizes:
        results[size] = measured(size, methods, peers, None)
        report(size, results[size], float(lengths[chosen].mean()))
        print(
            f"\n{len(chosen)} queries, {turns} turns. The corpus holds {source.copies(size):.2f} near copies of each real "
            "token; more copies make clusters denser, so sizes of this corpus are not to be compared with each other."
        )
    if len(sizes) > 1:
        large, most = [name for name in methods if name in _LARGE], max(sizes)
        copies = source.copies(most)
        grown, said = {}, []
        for size in sizes:
            if size < most:
                grown[size] = measured(size, large, {}, copies)
                part = open_source("spliced", work, collections, size, copies)
                assert isinstance(part, Spliced)
                said.append(f"{part.copies(size):.2f} at {size:,}")
            else:  # it uses all there is already
                grown[size] = [
                    method for method in results[size] if method.name.removeprefix("irkit ") in large
                ]
                said.append(f"{copies:.2f} at {size:,}")
        print(
            f"\n### Growth\n\nNear copies of each real token: {', '.join(said)}. The smaller corpora use fewer real "
            "documents, so what grows is the amount of different text, and not how often it repeats."
        )
        growth(grown)
