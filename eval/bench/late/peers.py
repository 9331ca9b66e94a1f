"""The peers' side of the latency measurement. Runs in a peer's own environment: numpy and the peer are all it imports.

    python peers.py build xtr-warp --tokens FOLDER --queries FOLDER --index FOLDER
    python peers.py serve xtr-warp --tokens FOLDER --queries FOLDER --index FOLDER

``--tokens`` has ``offsets.npy`` (``int64[n + 1]``) and ``tokens.npy`` (``float16[T, dim]``), ``--queries`` the same of
the queries in float32. Every peer gets the vectors that irkit gets, and one thread to search with. Environments::

    pip install torch==2.11.0 fast-plaid==1.7.0.2110 xtr-warp-rs==2.1.0.2110
    pip install pylate==1.6.0        # its StanfordPLAID is ColBERT's PLAID; compiles C++ on first use (needs ninja and g++)
"""

# ruff: noqa: PLC0415 (a peer is imported in its own environment only)
from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

_OWN_CHOICE = 1_000_000
"""Tokens up to which building an index as xtr-warp itself chooses takes minutes."""


class XtrWarp:
    """xtr-warp-rs: WARP in Rust, 4 bits. Up to a million tokens with its own choice of lists and of the sample for k-means.

    Above, so that building fits the time there is: 3.3 sqrt(tokens) lists instead of 16 sqrt(tokens), both down to a power of
    two, learnt from 64 tokens each. Its lists are then longer than it would have them.
    """

    package = "xtr-warp-rs"
    settings = (
        {},
        {"nprobe": 8, "bound": 128},
        {"nprobe": 32, "bound": 512, "centroid_score_threshold": 0.0},
        {
            "nprobe": 32,
            "bound": 512,
            "centroid_score_threshold": 0.0,
            "t_prime": 20000,
            "max_candidates": 200000,
        },
        {
            "nprobe": 128,
            "bound": 2048,
            "centroid_score_threshold": 0.0,
            "t_prime": 20000,
            "max_candidates": 400000,
        },
    )

    def __init__(self, index: Path) -> None:
        from xtr_warp.search import XTRWarp

        self.index = XTRWarp(str(index))

    def build(self, offsets: Any, tokens: Any) -> str:
        import torch

        documents = [torch.from_numpy(tokens[a:b].astype(np.float32)) for a, b in pairwise(offsets)]
        if len(tokens) <= _OWN_CHOICE:
            self.index.create(documents, "cpu", show_progress=False)
            return f"{2 ** int(np.log2(16 * len(tokens) ** 0.5)):,} lists, its own choice"
        lists = 2 ** int(np.log2(3.3 * len(tokens) ** 0.5))
        sample = min(len(documents), max(1, lists * 64 * len(documents) // len(tokens)))
        self.index.create(
            documents, "cpu", num_partitions=lists, n_samples_kmeans=sample, show_progress=False
        )
        own = 2 ** int(np.log2(16 * len(tokens) ** 0.5))
        return f"{lists:,} lists, so that building fits the time; its own choice would be {own:,}"

    def open(self) -> None:
        self.index.load("cpu")

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> list[int]:
        import torch

        found = self.index.search(
            torch.from_numpy(query)[None], top_k=k, num_threads=1, show_progress=False, **setting
        )
        return [doc for doc, _ in found[0]]


class FastPlaid:
    """fast-plaid. It computes in float16, which is slow on processors without float16 arithmetic (AVX-512 FP16)."""

    package = "fast-plaid"
    settings = (
        {"n_ivf_probe": 2, "n_full_scores": 1024},
        {"n_ivf_probe": 8, "n_full_scores": 4096},
        {"n_ivf_probe": 32, "n_full_scores": 8192},
    )

    def __init__(self, index: Path) -> None:
        from fast_plaid.search import FastPlaid as Index

        self.index = Index(str(index), device="cpu")

    def build(self, offsets: Any, tokens: Any) -> str:
        import torch

        documents = [torch.from_numpy(tokens[a:b]) for a, b in pairwise(offsets)]
        self.index.create(documents)
        return "as it chooses itself"

    def open(self) -> None:
        pass

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> list[int]:
        import torch

        found = self.index.search(
            [torch.from_numpy(query)], top_k=k, show_progress=False, n_processes=1, **setting
        )
        return [doc for doc, _ in found[0]]


class Plaid:
    """ColBERT's PLAID as PyLate ships it, 2 bits, with the settings of ColBERT for k <= 10, k <= 100 and above."""

    package = "pylate"
    settings = (
        {"ncells": 1, "centroid_score_threshold": 0.5, "ndocs": 256},
        {"ncells": 2, "centroid_score_threshold": 0.45, "ndocs": 1024},
        {"ncells": 4, "centroid_score_threshold": 0.4, "ndocs": 4096},
        {"ncells": 8, "centroid_score_threshold": 0.35, "ndocs": 8192},
    )

    def __init__(self, index: Path) -> None:
        self.folder = index

    def build(self, offsets: Any, tokens: Any) -> str:
        from pylate.indexes.stanford_plaid import StanfordPLAID

        index = StanfordPLAID(str(self.folder), "plaid", override=True, nbits=2, use_triton=False)
        names = [str(i) for i in range(len(offsets) - 1)]
        index.add_documents(names, [tokens[a:b].astype(np.float32) for a, b in pairwise(offsets)])
        return "as it chooses itself, 2 bits"

    def open(self) -> None:
        from pylate.indexes.stanford_plaid import StanfordPLAID

        self.index = StanfordPLAID(str(self.folder), "plaid", override=False, nbits=2, use_triton=False)

    def search(self, query: Any, k: int, setting: dict[str, Any]) -> list[int]:
        for name, value in setting.items():
            self.index.searcher.config.configure(**{name: value})
        return [int(hit["id"]) for hit in self.index([query], k=k)[0]]


PEERS = {"xtr-warp": XtrWarp, "fast-plaid": FastPlaid, "plaid": Plaid}


def serve(peer: Any, queries: Path) -> None:
    """Answer like ``ours.serve``."""
    offsets, vectors = np.load(queries / "offsets.npy"), np.load(queries / "tokens.npy")
    with _quiet():
        peer.open()
    print(json.dumps({"ready": True, "settings": peer.settings}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        seconds, found = [], []
        with _quiet():
            for query in asked["queries"]:
                vector = vectors[offsets[query] : offsets[query + 1]]
                started = time.perf_counter()
                documents = peer.search(vector, asked["k"], asked["setting"])
                seconds.append(time.perf_counter() - started)
                found.append(documents[: asked["show"]])
        print(json.dumps({"seconds": seconds, "found": found, "rss": _peak()}), flush=True)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _quiet() -> Any:
    return contextlib.redirect_stdout(sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["build", "serve"])
    parser.add_argument("peer", choices=list(PEERS))
    for name in ("tokens", "queries", "index"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(options.threads)
    options.index.mkdir(parents=True, exist_ok=True)
    peer = PEERS[options.peer](options.index)
    if options.task == "serve":
        return serve(peer, options.queries)
    offsets = np.load(options.tokens / "offsets.npy")
    tokens = np.load(options.tokens / "tokens.npy", mmap_mode="r")
    started = time.perf_counter()
    with _quiet():
        note = peer.build(offsets, tokens)
    size = sum(path.stat().st_size for path in options.index.rglob("*") if path.is_file())
    record = {
        "seconds": time.perf_counter() - started,
        "rss": _peak(),
        "bytes": size,
        "note": note,
        "package": f"{peer.package} {version(peer.package)}",
    }
    print(json.dumps(record))
    return None


if __name__ == "__main__":
    main()
