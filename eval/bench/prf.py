"""Lexical feedback, throughput: irkit's `bm25 -> rm3 -> bm25` against the searcher that pyserini's `LuceneSearcher` is.

Both run in this process, over the same documents and terms, in turns; a ratio is the median over the turns. The searcher is Java's
own, as pyserini calls it (`set_rm3`, `batch_search`); its hits stay Java objects, while irkit's are arrays. It takes all processors
whatever it is told, so irkit is given as many threads. Its index keeps term vectors, irkit's forward index stands beside its own.

    python eval/bench/prf.py --collection path/to/beir/scifact
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irkit.core.rankings import Rankings
from irkit.data.open import open_collection
from irkit.data.spec import LocalSpec
from irkit.models.lucene.forward import build_forward, forward_recipe
from irkit.models.lucene.index import FOLDER, build_index, recipe
from irkit.models.lucene.jvm import java_class, java_list, using_java
from irkit.pipeline.context import Context, Runtime
from irkit.pipeline.registry import make_stage
from irkit.pipeline.stage import Batch
from irkit.store import Store

PEERS: dict[str, Callable[[Any], None]] = {
    "rm3": lambda searcher: searcher.set_rm3(10, 10, 0.5),
    "rocchio": lambda searcher: searcher.set_rocchio(),
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("IRKIT_TEST_DATA", "../shared/data"))
    parser.add_argument("--collection", type=Path, nargs="+", default=[data / "scifact"], help="BEIR folders")
    parser.add_argument("-k", type=int, default=1000, help="documents a query in the end")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=3, help="turns before the first that counts")
    options = parser.parse_args()
    print(f"{options.threads} threads, k={options.k}, {options.repeats} turns\n")
    print("| collection | method | queries | irkit queries/s | pyserini | ratio | mean hits, both |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for folder in options.collection:
        with tempfile.TemporaryDirectory() as scratch:
            notes.append(measure(folder, Path(scratch), options))
    print("\n" + "\n".join(notes))


def measure(folder: Path, scratch: Path, options: argparse.Namespace) -> str:
    store = Store(scratch)
    collection = open_collection(LocalSpec(path=str(folder)), store, base=Path.cwd())
    docs, queries, key = collection.docs, collection.queries, collection.docs_fingerprint
    context = Context(collection, store, Runtime(threads=options.threads))
    search, first = make_stage("bm25", k=options.k), make_stage("bm25", k=10)
    state = search.prepare(context)
    seconds, vectors = timed(
        lambda: store.get(
            recipe(key, "porter", docvectors=True),
            lambda build: build_index(build, docs, "porter", docvectors=True),
        )
    )
    ours, _ = timed(
        lambda: store.get(
            forward_recipe(key, "porter"),
            lambda build: build_forward(build, docs, "porter", threads=options.threads),
        )
    )
    where = str(vectors.file(FOLDER))
    with using_java(where):
        peer = java_class("io.anserini.search.SimpleSearcher")(where)
        peer.set_bm25(0.9, 0.4)
        texts, qids = java_list(queries.text), java_list(queries.qid)
    for method, tell in PEERS.items():
        stage = make_stage(method)
        expansion = stage.prepare(context)

        def irkit(stage: Any = stage, expansion: Any = expansion) -> Rankings:
            found = first.run(Batch(queries), state)
            result = search.run(Batch(stage.run(Batch(queries, (found,)), expansion)), state)
            assert isinstance(result, Rankings)
            return result

        def pyserini() -> Any:
            with using_java(where):
                return peer.batch_search(texts, qids, options.k, options.threads)

        with using_java(where):
            tell(peer)
        turns = [(timed(irkit), timed(pyserini)) for _ in range(options.warm_up + options.repeats)]
        found = turns[-1][0][1]
        with using_java(where):
            hits = sum(len(turns[-1][1][1].get(qid)) for qid in queries.qid)
        # equal scores at the tenth document are cut apart in two directions, so few queries are expanded by other documents
        assert abs(hits - len(found.doc)) < 0.01 * hits, f"{hits} hits, and irkit has {len(found.doc)}"
        counted = [(a, b) for (a, _), (b, _) in turns[options.warm_up :]]
        n = len(queries)
        rates = [n / statistics.median(side) for side in zip(*counted, strict=True)]
        ratio = statistics.median(b / a for a, b in counted)
        print(
            f"| {folder.name} | {method} | {n} | {rates[0]:,.0f} | {rates[1]:,.0f} | **{ratio:.1f}** | {hits / n:.0f} |",
            flush=True,
        )
    with using_java(where):
        peer.close()
    return (
        f"{folder.name}: forward index {ours:.1f} s, Anserini's index with term vectors {seconds:.1f} s "
        f"({len(docs)} documents; BM25's index and Java's start not counted)"
    )


if __name__ == "__main__":
    main()
