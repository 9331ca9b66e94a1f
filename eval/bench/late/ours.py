"""irkit's side of the latency and memory measurements: builds an index over a corpus, or answers queries, in a process of its own.

The stages run as they are shipped, over a collection whose "encoder" reads the corpus (see ``corpus.py``): what is timed is
``search`` of one query, from its token vectors to ``Rankings``.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from late.corpus import Encoder, Source, make_context, open_source

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context

METHODS: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "maxsim": ("maxsim", {}, [{}]),
    "muvera": (
        "muvera",
        {"repetitions": 20, "k_sim": 5, "d_proj": 16, "index": "flat", "rerank": True},
        [{"candidates": n} for n in (100, 200, 400, 800)],
    ),
    "muvera-pq": (
        "muvera",
        {"repetitions": 20, "k_sim": 5, "d_proj": 16, "index": "pq", "rerank": True},
        [{"candidates": n} for n in (200, 800)],
    ),
    "xtr": (
        "xtr",
        {"index": "ivf", "bits": 4},
        [
            {"nprobe": 16},
            {"nprobe": 32},
            {"nprobe": 64},
            {"nprobe": 16, "rerank": 100},
            {"nprobe": 32, "rerank": 100},
            {"nprobe": 32, "rerank": 200},
            {"nprobe": 64, "rerank": 200},
            {"nprobe": 128, "rerank": 400},
        ],
    ),
    "tokens": ("maxsim", {}, [{}]),
    "residual-2": ("maxsim", {"tokens": {"codec": "residual-2"}, "keep_raw": False}, [{}]),
}
"""Stage, the options that decide its index, and the settings of the search that make its curve."""
_CLASSES = {"maxsim": "MaxSim", "muvera": "Muvera", "xtr": "Xtr"}


def make_stage(method: str, source: Source, **options: Any) -> Any:
    """Make a stage of irkit whose model is the corpus."""
    name, base, _ = METHODS[method]
    cls = getattr(import_module(f"irkit.stages.multivector.{name}"), _CLASSES[name])
    encoder = Encoder(source)

    class Bound(cls):  # type: ignore[misc, valid-type]
        def load_encoder(self, context: Context) -> Encoder:
            return encoder

        def encoder_identity(self, context: Context) -> dict[str, Any]:
            return {"corpus": source.name}

    return Bound(**{**base, **options})


def build(method: str, source: Source, context: Context, token_store_only: bool = False) -> dict[str, Any]:
    """Build what a method needs, and tell seconds, bytes and the peak of memory of this process."""
    stage = make_stage(method, source)
    before = {artifact.path for artifact in context.store.artifacts()}
    started = time.perf_counter()
    if token_store_only:
        stage.open_tokens(context, stage.load_encoder(context))
    else:
        stage.prepare(context)
    seconds = time.perf_counter() - started
    recipes = stage.artifacts(context)
    kept = [context.store.find(recipe) for recipe in recipes]
    made = [artifact for artifact in kept if artifact]
    return {
        "seconds": seconds,
        "fresh": any(artifact.path not in before for artifact in made),
        "rss": peak(),
        "bytes": {artifact.kind: artifact.bytes for artifact in made},
        "tokens": str(made[0].file("tokens.npy").parent) if made and made[0].kind == "tokens" else None,
    }


def searcher(method: str, source: Source, context: Context) -> Callable[[int, int, dict[str, Any]], Rankings]:
    """Open a method; return the function of (query, k, setting) that is timed."""
    if method == "maxsim":
        state = make_stage(method, source).prepare(context)

        def exact(query: int, k: int, _setting: dict[str, Any]) -> Rankings:
            vectors = source.queries[query]
            found: Rankings = state.scorer.search(Ragged(np.array([0, len(vectors)]), vectors), k)
            return found

        return exact
    stages: dict[str, Any] = {}
    states: dict[bool, Any] = {}  # xtr's state has what reranks, or has it not

    def search(query: int, k: int, setting: dict[str, Any]) -> Rankings:
        key = json.dumps(setting)
        if key not in stages:
            stages[key] = make_stage(method, source, k=k, **setting)
        reranks = "rerank" in setting
        if reranks not in states:
            states[reranks] = stages[key].prepare(context)
        found: Rankings = stages[key].search(Queries.of([str(query)]), k, states[reranks])
        return found

    return search


def serve(search: Callable[[int, int, dict[str, Any]], Rankings]) -> None:
    """Answer: a line asks for some queries at one setting, a line tells the seconds and the first documents of each."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        seconds, found = [], []
        for query in asked["queries"]:
            started = time.perf_counter()
            rankings = search(query, asked["k"], asked["setting"])  # opens the index in the first turn
            seconds.append(time.perf_counter() - started)
            found.append(rankings.doc[: asked["show"]].tolist())
        print(json.dumps({"seconds": seconds, "found": found, "rss": peak()}), flush=True)


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["build", "build-tokens", "serve"])
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("--corpus", choices=["random", "spliced"], required=True)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--copies", type=float)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collection", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    source = open_source(options.corpus, options.work, options.collection, options.documents, options.copies)
    context = make_context(source, options.documents, options.work, options.threads)
    if options.task == "serve":
        import_module("torch").set_num_threads(1)
        serve(searcher(options.method, source, context))
    else:
        print(json.dumps(build(options.method, source, context, options.task == "build-tokens")))


if __name__ == "__main__":
    main()
