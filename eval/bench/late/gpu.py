"""MaxSim and document encodings on a CUDA device: times, the floor that memory sets, and what is lost to uncertainty.

    python eval/bench/late/gpu.py

Needs torch with CUDA and Triton, and of irkit's packages numpy, numba, scipy and pydantic. Inputs are drawn anew and
rotate, so that no run finds them in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
import triton

from irkit.models.ragged import Ragged
from irkit.stages.multivector import maxsim_gpu
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder
from irkit.stages.multivector.fde_torch import TorchDocuments
from irkit.stages.multivector.grid import on_grid
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.tokens import Tokens

DOCUMENTS, QUERY = 1000, 32
SETS = 8


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def median(function: Callable[[], Any]) -> float:
    """Return milliseconds on the device."""
    return float(triton.testing.do_bench(function, return_mode="median"))


def wall(function: Callable[[], Any], times: int = 200) -> float:
    """Return milliseconds from call to return, for calls that end with a result on the host."""
    function()
    each = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        each.append(time.perf_counter() - started)
    return float(np.median(each)) * 1e3


def bandwidth() -> float:
    """Return what a large copy moves, in bytes a second."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / median(lambda: target.copy_(source)) * 1e3


def maxsim(length: int, dim: int, speed: float) -> None:
    offsets = np.arange(0, DOCUMENTS * length + 1, length)
    tokens = [Tokens.of(offsets, unit(DOCUMENTS * length, dim, i).astype(np.float16)) for i in range(SETS)]
    engines = [maxsim_gpu.CudaEngine(each, "cuda") for each in tokens]
    vectors = on_grid(unit(QUERY, dim, 99)).astype(np.float32)
    query = Ragged(np.array([0, QUERY]), vectors)
    asked = maxsim_gpu.Asked.move(query, "cuda")
    docs = torch.arange(DOCUMENTS, dtype=torch.int32, device="cuda")
    zeros = torch.zeros_like(docs)
    ours, halves, floats, calls = cycle(engines), cycle(engines), cycle(engines), cycle(tokens)
    scorers = {id(each): MaxSimScorer(each, "cuda") for each in tokens}
    numbers = np.arange(DOCUMENTS, dtype=np.int32)

    def half() -> Any:
        matrix = next(halves)._resident._vectors
        return (asked.exact.half() @ matrix.T).view(QUERY, DOCUMENTS, length).amax(2).float().sum(0)

    def single() -> Any:
        matrix = next(floats)._resident._vectors.float()
        return (asked.exact.float() @ matrix.T).view(QUERY, DOCUMENTS, length).amax(2).sum(0)

    device = median(lambda: next(ours)._resident.scores(asked, zeros, docs))
    whole = wall(lambda: scorers[id(next(calls))].rescore(vectors, numbers))
    floor = DOCUMENTS * length * dim * 2 / speed * 1e3
    print(
        f"| {DOCUMENTS} x {length} x {dim} | {device:.3f} | {whole:.3f} | {median(half):.3f} | {median(single):.3f} "
        f"| {floor:.3f} | {floor / device:.0%} |",
        flush=True,
    )


def certain(dim: int) -> None:
    """Count pairs whose score differs from float64 when the margin of uncertainty is made smaller."""
    length, queries, documents = 100, 40, 4000
    tokens = Tokens.of(
        np.arange(0, documents * length + 1, length), unit(documents * length, dim, 1).astype(np.float16)
    )
    offsets = np.arange(0, queries * QUERY + 1, QUERY)
    asked = maxsim_gpu.Asked.move(
        Ragged(offsets, on_grid(unit(queries * QUERY, dim, 2)).astype(np.float32)), "cuda"
    )
    pairs = maxsim_gpu.CudaEngine(tokens, "cuda")._resident
    doc = torch.arange(documents, dtype=torch.int32, device="cuda").repeat_interleave(queries)
    query = torch.arange(queries, dtype=torch.int32, device="cuda").repeat(documents)
    margin, pairs._slack = pairs._slack, 1e9
    truth = pairs.scores(asked, query, doc).clone()  # every product in float64
    wrong = []
    for part in (1, 1 / 4, 1 / 16, 1 / 64, 0):
        pairs._slack = margin * part if part else -1.0
        wrong.append(int((pairs.scores(asked, query, doc) != truth).sum()))
    print(f"| {dim} | {len(doc):,} | {' | '.join(map(str, wrong))} |", flush=True)


def encodings(speed: float) -> None:
    documents, length, dim = 20000, 80, 128
    offsets = np.arange(0, documents * length + 1, length)
    vectors = torch.from_numpy(unit(documents * length, dim, 3).astype(np.float16)).cuda()
    ends = torch.from_numpy(offsets).cuda()
    there = TorchDocuments(FdeEncoder(FdeConfig(), dim), "cuda")
    assert there._fused
    taken = median(lambda: there._fused(ends, vectors))
    moved = vectors.nbytes + 4 * documents * there.encoder.size
    host = vectors.cpu().numpy()
    few = 2000
    with_copies = wall(lambda: there.documents(offsets[: few + 1], host[: few * length]).cpu(), 20)
    print(
        f"\n{documents:,} documents of {length} x {dim}, R=20 k=5 d_proj=16: {documents / taken * 1e-3:.2f} million a second, "
        f"{moved / taken * 1e3 / speed:.1%} of the memory's bandwidth; "
        f"{few / with_copies * 1e3:,.0f} a second from host arrays to host arrays"
    )


def main() -> None:
    speed = bandwidth()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Triton {triton.__version__}; "
        f"a copy moves {speed / 1e12:.2f} TB/s\n"
    )
    print(
        "| MaxSim, 32 query tokens | irkit, ms on the device | `rescore`, ms | torch, float16 (inexact) "
        "| torch, float32 (inexact) | reading once | share |"
    )
    print("|---|---|---|---|---|---|---|")
    for length, dim in ((80, 128), (300, 128), (300, 384)):
        maxsim(length, dim, speed)
    print(
        "\n| dimensions | pairs | wrong at the margin | a 4th of it | a 16th | a 64th | none |\n|---|---|---|---|---|---|---|"
    )
    for dim in (64, 128, 384):
        certain(dim)
    encodings(speed)


if __name__ == "__main__":
    main()
