"""Document encodings of MUVERA: documents a second against other packages, one thread each, in one run.

    python eval/bench/late/fde.py --peer fastembed=/path/to/venv/bin/python --peer muvera-python=/path/to/venv/bin/python

Every package works in an interpreter of its own, on the same arrays from a file; the rounds of all take turns, and the medians
of their CPU times are compared. Beside irkit stands the bare matrix product that its encoder rests on: no encoder that
multiplies the tokens with the same matrix is faster. That all compute the same is checked by their scores' correlation with
MaxSim; it differs a little between them, for each draws its own random numbers. A peer without a venv is left out, and said to be.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402  (reads the number of threads)

PEERS = ("fastembed", "muvera-python", "muvfde")
REPETITIONS, BITS, WIDTH = 20, 5, 16


def main() -> None:
    """Run the comparison and print a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    options.add_argument("--documents", type=int, default=240)
    options.add_argument("--tokens", type=int, default=80)
    options.add_argument("--dim", type=int, default=128)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--worker", help=argparse.SUPPRESS)
    options.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        _work(given.worker, given.data)
        return
    peers = dict(peer.split("=", 1) for peer in given.peer)
    with tempfile.TemporaryDirectory() as folder:
        _compare(given, peers, Path(folder))


def _compare(given: argparse.Namespace, peers: dict[str, str], folder: Path) -> None:
    maxsim = _data(folder, given.documents, given.tokens, given.dim)
    pythons = {
        "irkit": sys.executable,
        "irkit, float32": sys.executable,
        "matrix product alone": sys.executable,
        **peers,
    }
    workers = {
        name: subprocess.Popen(
            [python, __file__, "--worker", name, "--data", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in pythons.items()
    }
    times: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(given.rounds + 1):  # the first warms up
        for name, worker in workers.items():
            assert worker.stdin and worker.stdout
            print("go", file=worker.stdin, flush=True)
            seconds, documents = worker.stdout.readline().split()
            if turn:
                times[name].append(float(seconds) / int(documents))
    for worker in workers.values():
        worker.communicate("")
    medians = {name: float(np.median(each)) for name, each in times.items()}
    shape = f"{given.tokens} tokens x {given.dim} d, R={REPETITIONS} k_sim={BITS} d_proj={WIDTH}, one thread"
    print(f"{shape}; medians of {given.rounds} rounds of CPU time\n")
    print(f"{'':24}{'documents/s':>12}{'irkit is':>10}{'r with MaxSim':>15}")
    for name, each in sorted(medians.items(), key=lambda item: item[1]):
        scores = folder / f"{name}.npy"
        fit = f"{np.corrcoef(np.load(scores).ravel(), maxsim.ravel())[0, 1]:.3f}" if scores.exists() else ""
        print(f"{name:24}{1 / each:12,.0f}{each / medians['irkit']:9.2f}x{fit:>15}")
    for name in set(PEERS) - set(peers):
        print(f"{name:24}left out: no --peer {name}=PYTHON was given")
    print(
        f"\nirkit reaches {medians['matrix product alone'] / medians['irkit']:.0%} of the speed of the matrix product alone"
    )


def _data(folder: Path, documents: int, tokens: int, dim: int) -> Any:
    """Write documents, and queries that are noisy tokens of single documents; return their MaxSim, ``float64[Q, N]``."""
    random = np.random.Generator(np.random.PCG64(7))
    vectors = random.normal(size=(documents, tokens, dim))
    queries = vectors[:40, :32] + random.normal(size=(40, 32, dim)) * random.uniform(0.2, 3.0, (40, 1, 1))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    np.save(folder / "documents.npy", vectors.astype(np.float16))
    np.save(folder / "queries.npy", queries.astype(np.float32))
    return np.stack([(vectors @ query.T).max(axis=1).sum(axis=1) for query in queries])


def _work(name: str, folder: Path) -> None:
    """Encode at each ``go``, and answer with the CPU seconds; then write the scores of the queries and documents."""
    halves = np.load(folder / "documents.npy")
    documents, queries = halves.astype(np.float32), np.load(folder / "queries.npy")
    encode, encode_queries, scale = _package(name, halves, documents)
    some = documents[: 24 if name in ("fastembed",) else None]
    for _line in sys.stdin:
        start = time.process_time()
        encode(some)
        print(time.process_time() - start, len(some), flush=True)
    if encode_queries is not None:
        np.save(folder / f"{name}.npy", encode_queries(queries) @ np.asarray(encode(documents)).T / scale)


def _package(
    name: str, halves: Any, documents: Any
) -> tuple[Callable[..., Any], Callable[..., Any] | None, float]:
    """Return a package's encoders of documents and queries, and what divides a score."""
    dim = documents.shape[2]
    if name in ("irkit", "irkit, float32", "matrix product alone"):
        return _irkit(name, halves, documents)
    if name == "fastembed":
        from fastembed.postprocess import Muvera as FastEmbed

        fastembed = FastEmbed(dim=dim, k_sim=BITS, dim_proj=WIDTH, r_reps=REPETITIONS)
        return (
            lambda texts: np.stack([fastembed.process_document(text) for text in texts]),
            lambda texts: np.stack([fastembed.process_query(text) for text in texts]),
            REPETITIONS,
        )
    if name == "muvera-python":
        from muvera import Muvera

        muvera = Muvera(REPETITIONS, BITS, dim, projection_type="ams_sketch", projection_dimension=WIDTH)
        return (
            lambda texts: muvera.encode_documents(list(texts)),
            lambda texts: muvera.encode_queries(list(texts)),
            REPETITIONS,
        )
    if name == "muvfde":
        import muvfde

        def encoder(kind: Any) -> Callable[..., Any]:
            config = muvfde.fixed_dimensional_encoding_config()
            for setting, value in {
                "set_num_repetitions": REPETITIONS,
                "set_num_simhash_projections": BITS,
                "set_projection_dimension": WIDTH,
                "set_projection_type": muvfde.projection_type.AMS_SKETCH,
                "set_encoding_type": kind,
                "enable_fill_empty": kind == muvfde.encoding_type.AVERAGE,
            }.items():
                config = getattr(config, setting)(value)  # returns a changed copy
            return lambda texts: np.stack(
                [muvfde.generate_fixed_dimensional_encoding(text, config) for text in texts]
            )

        return encoder(muvfde.encoding_type.AVERAGE), encoder(muvfde.encoding_type.DEFAULT_SUM), REPETITIONS
    raise SystemExit(f"no such peer: {name}; there are {', '.join(PEERS)}")


def _irkit(
    name: str, halves: Any, documents: Any
) -> tuple[Callable[..., Any], Callable[..., Any] | None, float]:
    from irkit.stages.multivector.fde import FdeConfig, FdeEncoder

    count, tokens, dim = documents.shape
    config = FdeConfig(repetitions=REPETITIONS, k_sim=BITS, d_proj=WIDTH)
    encoder = FdeEncoder(config, dim)
    offsets = np.arange(count + 1) * tokens
    stacked = (documents if name == "irkit, float32" else halves).reshape(-1, dim)
    if name == "matrix product alone":
        tile = documents.reshape(-1, dim)[:512].copy()
        product = np.empty((512, encoder.matrix.shape[1]), np.float32)
        times = -(-len(stacked) // 512)
        return lambda _texts: [np.matmul(tile, encoder.matrix, out=product) for _ in range(times)], None, 1.0
    return (
        lambda _texts: encoder.documents(offsets, stacked),
        lambda texts: encoder.queries(np.arange(len(texts) + 1) * texts.shape[1], texts.reshape(-1, dim)),
        REPETITIONS,
    )


if __name__ == "__main__":
    main()
