"""Tests of MaxSim on a CUDA device: the same numbers as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from irkit.core.rankings import Rankings
from irkit.models.encoder import unit
from irkit.models.ragged import Ragged
from irkit.stages.multivector import maxsim_gpu
from irkit.stages.multivector.maxsim_torch import TorchEngine
from irkit.stages.multivector.scoring import MaxSimScorer
from irkit.stages.multivector.tokens import Tokens

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and maxsim_gpu.available()), reason="no CUDA device with Triton here"
)


def made(seed: int, lengths: np.ndarray, dim: int, scale: float = 1.0) -> Ragged:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(offsets, unit(rng.normal(size=(offsets[-1], dim))) * np.float32(scale))


@pytest.mark.parametrize("dim", [8, 32, 100, 128, 384])
@pytest.mark.parametrize("block", [None, 500])
def test_every_score_is_the_one_of_float64(dim: int, block: int | None) -> None:
    rng = np.random.default_rng(dim)
    docs = made(1, rng.integers(0, 150, 200), dim)
    vectors = docs.vectors.astype(np.float16)
    vectors[10:20] = vectors[:10]  # equal tokens: no winner is certain
    tokens = Tokens.of(docs.offsets, vectors)
    queries = made(2, np.array([0, 1, 16, 32, 33, 70]), dim)
    grid = Ragged(queries.offsets, (np.round(queries.vectors * 2.0**20) / 2.0**20).astype(np.float32))
    hits = np.concatenate([rng.permutation(200)[:120] for _ in range(6)]).astype(np.int32)
    offsets = np.arange(0, 721, 120)
    ours = maxsim_gpu.CudaEngine(tokens, "cuda", block).exact(grid, offsets, hits)
    assert (ours[tokens.lengths[hits] == 0] == 0).all()
    assert np.array_equal(ours, TorchEngine(tokens, "cpu").exact(grid, offsets, hits))


@pytest.mark.parametrize("scale", [1.0, 30.0, 0.001])
def test_search_equals_the_cpus(scale: float) -> None:
    rng = np.random.default_rng(3)
    docs, queries = made(4, rng.integers(0, 60, 3000), 64, scale), made(5, rng.integers(0, 40, 7), 64)
    tokens = Tokens.of(docs.offsets, docs.vectors.astype(np.float16))
    expected = MaxSimScorer(tokens).search(queries, 50)
    for block in (None, 1000):
        assert MaxSimScorer(tokens, "cuda", block=block).search(queries, 50) == expected
    again = MaxSimScorer(tokens, "cuda").rescore_all(queries, expected)
    assert isinstance(expected, Rankings)
    assert np.array_equal(again, expected.score)
