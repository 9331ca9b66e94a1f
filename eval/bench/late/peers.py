"""The peers' side of the latency measurement. Runs in a peer's own environment: numpy and the peer are all it imports.

    python peers.py build xtr-warp --tokens FOLDER --queries FOLDER --index FOLDER
    python peers.py serve xtr-warp --tokens FOLDER --queries FOLDER --index FOLDER

``--tokens`` has ``offsets.npy`` (``int64[n + 1]``) and ``tokens.npy`` (``float16[T, dim]``), ``--queries`` the same of
the queries in float32. Every peer gets the vectors that irkit gets, and one thread to search with. Environments::

    pip install torch==2.11.0 fast-plaid==1.7.0.2110 xtr-warp-rs==2.1.0.2110
    pip install pylate==1.6.0 ninja     # its StanfordPLAID is ColBERT's PLAID; its C++ is compiled (g++) before it builds
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

_OWN_CHOICE = 1_000_000
"""Tokens up to which building an index as xtr-warp itself chooses takes minutes."""
Setting = dict[str, Any]


class Peer(ABC):
    """An index of a peer: ``build`` makes it in the folder, then ``open`` and ``search`` answer in a process of their own."""

    package: str
    settings: tuple[Setting, ...]

    @abstractmethod
    def __init__(self, index: Path) -> None:
        """Take the folder of the index."""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Do what comes before building and is not counted."""

    @abstractmethod
    def build(self, offsets: Any, tokens: Any) -> str:
        """Build the index; return what has to be said about how it was built."""

    @abstractmethod
    def open(self) -> None:
        """Open the index."""

    @abstractmethod
    def search(self, query: Any, k: int, setting: Setting) -> list[int]:
        """Return the best documents for the vectors of one query, best first."""


class XtrWarp(Peer):
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

    def search(self, query: Any, k: int, setting: Setting) -> list[int]:
        import torch

        found = self.index.search(
            torch.from_numpy(query)[None], top_k=k, num_threads=1, show_progress=False, **setting
        )
        return [doc for doc, _ in found[0]]


class FastPlaid(Peer):
    """fast-plaid, 4 bits, which multiplies matrices in float16.

    torch 2.11 does that a hundred times slower than in float32 on a processor without float16 arithmetic (AVX-512 FP16).
    There the two matrix products are put in with float32 inside and float16 outside; all else is as it comes.
    """

    package = "fast-plaid"
    settings = (
        {"n_ivf_probe": 2, "n_full_scores": 256},
        {"n_ivf_probe": 4, "n_full_scores": 512},
        {"n_ivf_probe": 4, "n_full_scores": 2048},
        {"n_ivf_probe": 8, "n_full_scores": 4096},
        {"n_ivf_probe": 32, "n_full_scores": 8192},
    )

    def __init__(self, index: Path) -> None:
        import torch
        from fast_plaid.search import FastPlaid as Index

        self.replaced = None if torch.ops.mkldnn._is_mkldnn_fp16_supported() else _float32_products()
        self.index = Index(str(index), device="cpu")

    def build(self, offsets: Any, tokens: Any) -> str:
        import torch

        documents = [torch.from_numpy(np.array(tokens[a:b])) for a, b in pairwise(offsets)]
        self.index.create(documents)
        how = ", its float16 matrix products replaced by float32, as this processor has no float16 arithmetic"
        return f"as it chooses itself, 4 bits{how if self.replaced else ''}"

    def open(self) -> None:
        pass

    def search(self, query: Any, k: int, setting: Setting) -> list[int]:
        import torch

        found = self.index.search(
            [torch.from_numpy(query)], top_k=k, show_progress=False, n_processes=1, **setting
        )
        return [doc for doc, _ in found[0]]


def _float32_products() -> Any:
    """Let ``mm`` and ``bmm`` of this process's torch, which Rust calls too, compute in float32; return what keeps it so."""
    import torch

    zero = torch.zeros(())
    library = torch.library.Library("aten", "IMPL")

    def replace(name: str, product: Any) -> None:
        def multiply(a: Any, b: Any) -> Any:
            return product(zero, a.float(), b.float(), beta=0).to(a.dtype)

        library.impl(name, multiply, "CPU")

    replace("mm", torch.addmm)
    replace("bmm", torch.baddbmm)
    return library


class Plaid(Peer):
    """ColBERT's PLAID as PyLate ships it, 2 bits.

    The settings are ColBERT's for k <= 10, k <= 100 and above, PyLate's own (the last), and one with 512 documents, where
    PLAID gains most of its recall for little time. PLAID gets the token vectors, not an encoder, and is asked through its
    own ``Searcher``: PyLate's call reads a table of names from disk at each query.

    The index folder's parent gets the compiled C++, which is no part of the index: in torch's common folder, a compiler
    that was ended leaves a lock that every later process waits for without end.
    """

    package = "pylate"
    bits = 2
    settings = (
        {"ncells": 1, "centroid_score_threshold": 0.5, "ndocs": 256},
        {"ncells": 2, "centroid_score_threshold": 0.45, "ndocs": 512},
        {"ncells": 2, "centroid_score_threshold": 0.45, "ndocs": 1024},
        {"ncells": 4, "centroid_score_threshold": 0.4, "ndocs": 4096},
        {"ncells": 8, "centroid_score_threshold": 0.35, "ndocs": 8192},
    )

    def __init__(self, index: Path) -> None:
        self.folder = index
        compiled = index.resolve().parent / "compiled"
        os.environ["TORCH_EXTENSIONS_DIR"] = str(compiled)
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ninja

    def prepare(self) -> None:
        """Compile its C++, which counts neither as building nor as searching."""
        from pylate.indexes.stanford_nlp.modeling import colbert
        from pylate.indexes.stanford_nlp.search.index_storage import IndexScorer
        from pylate.indexes.stanford_nlp.search.strided_tensor import StridedTensor

        for lock in Path(os.environ["TORCH_EXTENSIONS_DIR"]).rglob("lock"):
            lock.unlink()  # left by a build that was ended: builds run one after another
        IndexScorer.try_load_torch_extensions(False)
        StridedTensor.try_load_torch_extensions(False)
        colbert.try_load_torch_extensions(False)

    def build(self, offsets: Any, tokens: Any) -> str:
        index = self._index(override=True)
        names = [str(i) for i in range(len(offsets) - 1)]
        index.add_documents(names, [tokens[a:b].astype(np.float32) for a, b in pairwise(offsets)])
        return f"as it chooses itself, {self.bits} bits; its C++ was compiled before, and is not in the time"

    def open(self) -> None:
        self.index = self._index(override=False).searcher

    def search(self, query: Any, k: int, setting: Setting) -> list[int]:
        self.index.configure(**setting)
        return list(self.index.search(query, k=k)[0])

    def _index(self, *, override: bool) -> Any:
        from pylate.indexes.stanford_plaid import StanfordPLAID

        return StanfordPLAID(str(self.folder), "plaid", override=override, nbits=self.bits, use_triton=False)


class Plaid4(Plaid):
    """PLAID with 4 bits instead of 2: twice the bytes, and finer scores."""

    bits = 4


PEERS: dict[str, type[Peer]] = {
    "xtr-warp": XtrWarp,
    "fast-plaid": FastPlaid,
    "plaid": Plaid,
    "plaid-4": Plaid4,
}


def serve(peer: Peer, queries: Path) -> None:
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
    with _quiet():
        peer.prepare()
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
