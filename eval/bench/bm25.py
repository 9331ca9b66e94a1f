"""BM25 batch throughput: irkit's `bm25` stage against pyserini's own `LuceneSearcher.batch_search`.

Both search the same Lucene index with the same Java, threads and k, each in its own process, in turns; the ratio is the median over
the turns. pyserini is timed twice: until it returns (its hits are then still Java objects), and until ids and scores are Python's.

    python eval/bench/bm25.py --collection path/to/beir/scifact

pyserini.search.lucene imports torch, onnxruntime, faiss and openai. To give it an environment of its own:

    python -m venv peer && peer/bin/pip install "pyserini==1.6.0" torch faiss-cpu
    python eval/bench/bm25.py --collection ... --peer-python peer/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from irkit.data.docstore import DocStore
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.models.lucene.java import anserini_version, java_info
from irkit.models.lucene.search import Searcher
from irkit.pipeline.context import Context
from irkit.stages.bm25 import BM25
from irkit.store import Artifact, Store

DEPTHS = (10, 100, 1000)

PEER = r"""
import glob, json, os, sys, time, importlib.util
import jnius_config
jars = os.path.join(importlib.util.find_spec("pyserini").submodule_search_locations[0], "resources", "jars")
jnius_config.set_classpath(glob.glob(os.path.join(jars, "anserini-*-fatjar.jar"))[0])
jnius_config.add_options("-Xmx2g")
import jnius
from pyserini.search.lucene import LuceneSearcher
setting = json.loads(sys.stdin.readline())
searcher = LuceneSearcher(setting["index"])
searcher.set_bm25(0.9, 0.4)
queries, threads = setting["queries"], setting["threads"]
qids = [str(i) for i in range(len(queries))]
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    k = json.loads(line)["k"]
    started = time.perf_counter()
    found = searcher.batch_search(queries, qids, k=k, threads=threads)
    returned = time.perf_counter() - started
    read = {qid: [(hit.docid, hit.score) for hit in hits] for qid, hits in found.items()}
    seconds = time.perf_counter() - started
    hits = sum(map(len, read.values()))
    answer = {"returned": returned, "read": seconds, "hits": hits}
    if json.loads(line).get("show"):
        answer["found"] = [read.get(qid, []) for qid in qids]
    print(json.dumps(answer), flush=True)
"""

ROUNDING = 1e-4
"""Anserini rounds scores to four decimals and lowers each of several equal ones by 1e-6 more than the one before."""


class Worker:
    """A process that runs the batch once for every line it is sent."""

    def __init__(self, command: list[str], setting: dict[str, Any]) -> None:
        env = {**os.environ, "OPENAI_API_KEY": "unused", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self.ask(setting)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries print, too
                answer: dict[str, Any] = json.loads(line)
                return answer
        sys.exit(f"the process ended: {' '.join(self.process.args[:2])}")  # type: ignore[arg-type,index]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def serve() -> None:
    """Be irkit's worker."""
    setting = json.loads(sys.stdin.readline())
    docs = DocStore(Path(setting["docs"]))
    searcher = Searcher(Artifact.read(Path(setting["index"]).parent), "porter", len(docs))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        k = json.loads(line)["k"]
        started = time.perf_counter()
        found = searcher.search(setting["queries"], k, threads=setting["threads"])
        returned = time.perf_counter() - started
        docnos, scores = docs.docnos(found.doc), found.score.tolist()
        seconds = time.perf_counter() - started
        assert len(docnos) == len(scores)
        answer = {"returned": returned, "read": seconds, "hits": len(docnos)}
        if json.loads(line).get("show"):
            pairs = list(zip(docnos, scores, strict=True))
            answer["found"] = [pairs[start:stop] for start, stop in pairwise(found.offsets.tolist())]
        print(json.dumps(answer), flush=True)


def compare(k: int, ours: list[list[Any]], theirs: list[list[Any]]) -> tuple[int, int, float]:
    """Compare the hits of all queries, and end the program where documents or scores differ.

    Returns:
        how many hits there are; at how many places the two have different documents, which is only allowed where their scores
        are equal within Anserini's rounding; the largest difference between the scores of one place.
    """
    hits, moved, largest = 0, 0, 0.0
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if len(mine) != len(other):
            sys.exit(f"k={k}, query number {number}: {len(mine)} documents, pyserini has {len(other)}")
        scores, ties = dict(mine), Counter(round(score, 4) for _, score in mine)
        for place, ((doc, score), (their_doc, their_score)) in enumerate(zip(mine, other, strict=True)):
            gap = abs(score - their_score)
            own = scores.get(
                their_doc, mine[-1][1]
            )  # a document that we lack can only be tied with our last one
            allowed = ROUNDING + 1e-6 * ties[round(score, 4)]
            if gap > allowed or (doc != their_doc and abs(own - their_score) > allowed):
                sys.exit(
                    f"k={k}, query number {number}, place {place + 1}: "
                    f"{doc} {score}, pyserini has {their_doc} {their_score}"
                )
            hits, moved, largest = hits + 1, moved + (doc != their_doc), max(largest, gap)
    return hits, moved, largest


def prepare(folder: Path, scratch: Path) -> dict[str, Any]:
    """Build documents and index; return what both workers need."""
    store = Store(scratch)
    collection = open_collection(LocalSpec(path=str(folder)), store, base=Path.cwd())
    context = Context(collection, store)
    started = time.perf_counter()
    BM25().prepare(context)
    seconds = time.perf_counter() - started
    (index,) = (a for a in store.artifacts() if a.kind == "lucene")
    (docs,) = (a for a in store.artifacts() if a.kind == "docs")
    print(f"{folder.name}: {len(collection.docs)} documents, {len(collection.queries)} queries; ", end="")
    print(f"index in {seconds:.1f} s (Java's start included), {index.bytes / 1e6:.1f} MB\n")
    return {
        "index": str(index.file("lucene")),
        "docs": str(docs.path),
        "queries": list(collection.queries.text),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("IRKIT_TEST_DATA", "../shared/data"))
    parser.add_argument("--collection", type=Path, default=data / "scifact", help="a BEIR folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--warm-up", type=int, default=10, help="batches before the first that counts, for every k"
    )
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that has pyserini's full environment"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()

    os.environ["JAVA_HOME"] = str(java_info().home)  # the same Java for both
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs; Java {java_info().version}; ",
        end="",
    )
    print(f"Anserini {anserini_version()}; {options.threads} threads, {options.repeats} turns")
    with tempfile.TemporaryDirectory() as scratch:
        setting = prepare(options.collection, Path(scratch)) | {"threads": options.threads}
        ours = Worker([sys.executable, __file__, "--serve"], setting)
        peer = Worker([options.peer_python, "-c", PEER], setting)
        n = len(setting["queries"])
        print(
            "| k | irkit queries/s | pyserini, returned | ratio | irkit with ids | pyserini, hits read | ratio |"
        )
        print("|---|---|---|---|---|---|---|")
        same = []
        for k in DEPTHS:
            found = [worker.ask({"k": k, "show": True})["found"] for worker in (ours, peer)]
            same.append((k, *compare(k, *found)))
            turns = [
                (ours.ask({"k": k}), peer.ask({"k": k})) for _ in range(options.warm_up + options.repeats)
            ]
            turns = turns[options.warm_up :]
            if any(a["hits"] != b["hits"] for a, b in turns):
                sys.exit(
                    f"k={k}: irkit found {turns[0][0]['hits']} documents, pyserini {turns[0][1]['hits']}"
                )
            cells = [str(k)]
            for until in ("returned", "read"):
                for side in (0, 1):
                    cells.append(f"{n / statistics.median(turn[side][until] for turn in turns):,.0f}")
                cells.append(f"**{statistics.median(b[until] / a[until] for a, b in turns):.1f}**")
            print(f"| {' | '.join(cells)} |", flush=True)
        print("\nBoth return the same documents and scores, within Anserini's rounding:")
        for k, hits, moved, largest in same:
            print(
                f"k={k}: {hits} hits of {n} queries, scores differ by {largest:.1e} at most; "
                f"{moved} places have another document, of equal score"
            )
        ours.close()
        peer.close()
    return None


if __name__ == "__main__":
    main()
