"""MaxSim reranking on one core, against the bare arithmetic and peers.

    python eval/bench/late/maxsim.py [--quick] [--rounds 31]

A query of 32 vectors and 1000 documents of 80, 128 dimensions. The floor is the time that the fastest general matrix product
here (numpy's BLAS or torch's, tall blocks or square matrices, operands in the cache) needs for the same number of floating-
point operations. Ours is everything between a query and its exact scores: documents drawn anew in every round from a file of
float16 vectors that is mapped into memory (its pages are in the page cache), widening, products, maxima, and the float64
products of the winners. Every peer gets what it likes best: float32 vectors of the same documents, already gathered, padded
where it wants that. All take turns in every round; a figure is the median over the rounds of the CPU time of the thread. Scores
are compared: ours are the exact ones, the peers' differ from them by rounding.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

# ruff: noqa: E402 (libraries read the number of threads when they are loaded)
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.util import maxsim

from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.tokens import FloatTokens

DOCUMENTS, TOKENS, DIM, QUERY = 1000, 80, 128, 32
WORK = 2 * DOCUMENTS * TOKENS * DIM * QUERY
"""Floating-point operations of the float32 products."""
Floats = NDArray[np.float32]


def unit(rng: np.random.Generator, *shape: int) -> Floats:
    made = rng.standard_normal(shape, dtype=np.float32)
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


def products(rng: np.random.Generator) -> dict[str, tuple[Callable[[], object], float]]:
    """The bare products: what to run, and how often WORK goes into it."""
    made: dict[str, tuple[Callable[[], object], float]] = {}
    shapes = [(rows, DIM, QUERY) for rows in (256, 512, 1024, 4096)] + [(n, n, n) for n in (512, 1024)]
    for m, k, n in shapes:
        a, b, out = unit(rng, m, k), unit(rng, k, n), np.empty((m, n), np.float32)
        ta, tb, to = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(out)
        times = max(1, DOCUMENTS * TOKENS // m) if n == QUERY else 1
        share = WORK / (2.0 * m * k * n * times)

        def by_numpy(a: Floats = a, b: Floats = b, out: Floats = out, times: int = times) -> None:
            for _ in range(times):
                np.matmul(a, b, out=out)

        def by_torch(
            a: torch.Tensor = ta, b: torch.Tensor = tb, out: torch.Tensor = to, times: int = times
        ) -> None:
            for _ in range(times):
                torch.mm(a, b, out=out)

        made[f"numpy [{m} x {k}] @ [{k} x {n}]"] = by_numpy, share
        made[f"torch [{m} x {k}] @ [{k} x {n}]"] = by_torch, share
    return made


def looped(query: Floats, documents: list[Floats]) -> Floats:
    return np.array([(query @ document.T).max(axis=1).sum() for document in documents], np.float32)


def padded(query: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    return torch.einsum("qd,nld->nql", query, documents).amax(dim=2).sum(dim=1)


def clock(work: Callable[[], object]) -> tuple[float, object]:
    start = time.thread_time()
    result = work()
    return time.thread_time() - start, result


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=31)
    options.add_argument("--collection", type=int, default=20_000, help="documents in the file")
    options.add_argument("--quick", action="store_true", help="5 rounds, 2,000 documents")
    given = options.parse_args()
    rounds, total = (5, 2_000) if given.quick else (given.rounds, given.collection)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        np.save(path, unit(rng, total * TOKENS, DIM).astype(np.float16))
        report(run(np.load(path, mmap_mode="r"), rng, rounds), rounds)


def run(mapped: NDArray[np.float16], rng: np.random.Generator, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every contestant in every round."""
    offsets = np.arange(0, len(mapped) + 1, TOKENS)
    scorer = MaxSimScorer(FloatTokens(offsets, mapped, 1.001))
    floors = products(rng)
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        docs = rng.permutation(len(offsets) - 1)[:DOCUMENTS].astype(np.int32)
        query = (np.round(unit(rng, QUERY, DIM) * 2.0**20) / 2.0**20).astype(np.float32)
        gathered = mapped[(offsets[docs][:, None] + np.arange(TOKENS)).ravel()]
        wide = gathered.astype(np.float32).reshape(DOCUMENTS, TOKENS, DIM)
        exact = np.einsum("nld,qd->nlq", wide.astype(np.float64), query.astype(np.float64))
        scores = exact.max(axis=1).sum(axis=1)
        for name, work in contestants(scorer, docs, gathered, wide, query).items():
            taken, result = clock(work)
            got = np.asarray(result, np.float32)
            if name.startswith("irkit"):
                assert np.array_equal(got, scores.astype(np.float32)), name
            assert np.abs(got - scores).max() < 1e-4, name
            seconds.setdefault(name, []).append(taken)
        for name, (product, share) in floors.items():
            seconds.setdefault(f"product: {name}", []).append(clock(product)[0] * share)
        if number == 0:
            seconds.clear()  # the first round compiles, loads and maps
    return seconds


def contestants(
    scorer: MaxSimScorer, docs: NDArray[np.int32], gathered: NDArray[np.float16], wide: Floats, query: Floats
) -> dict[str, Callable[[], object]]:
    """What is timed, over the same documents."""
    resident = MaxSimScorer(FloatTokens(np.arange(DOCUMENTS + 1) * TOKENS, gathered, 1.001))
    everything = np.arange(DOCUMENTS, dtype=np.int32)
    separate, tensor, asked = list(wide), torch.from_numpy(wide), torch.from_numpy(query)
    apart = list(tensor)
    return {
        "irkit, from the mapped file": lambda: scorer.rescore(query, docs),
        "irkit, in memory": lambda: resident.rescore(query, everything),
        "torch einsum and amax, one float32 tensor": lambda: padded(asked, tensor),
        "numpy, document by document, float32": lambda: looped(query, separate),
        "sentence-transformers maxsim, one float32 tensor": lambda: maxsim(asked, tensor)[0],
        "sentence-transformers maxsim, list of float32": lambda: maxsim(asked, apart)[0],
    }


def report(seconds: dict[str, list[float]], rounds: int) -> None:
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    bare = {name: each for name, each in medians.items() if name.startswith("product: ")}
    floor = min(bare, key=lambda name: bare[name])
    print(
        f"{DOCUMENTS} documents x {TOKENS} tokens x {DIM} dimensions, {QUERY} query vectors: {WORK / 1e6:.0f} MFLOP"
    )
    print(f"numpy {np.__version__}, torch {torch.__version__}; one thread; medians of {rounds} rounds\n")
    print("| what | ms | GFLOP/s | times the floor |\n|---|---|---|---|")
    ours = {name: value for name, value in medians.items() if name not in bare}
    for name, value in {f"the floor, {floor}": bare[floor], **ours}.items():
        print(f"| {name} | {value * 1e3:.2f} | {WORK / value / 1e9:.0f} | {value / bare[floor]:.2f} |")
    print(
        "\nproducts, GFLOP/s: "
        + "; ".join(f"{name[9:]} {WORK / each / 1e9:.0f}" for name, each in bare.items())
    )


if __name__ == "__main__":
    main()
