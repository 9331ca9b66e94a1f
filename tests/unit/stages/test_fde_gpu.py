"""Tests of encodings on a CUDA device: those of the CPU, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irkit.models.encoder import unit
from irkit.stages.multivector import maxsim_gpu
from irkit.stages.multivector.fde import FdeConfig, FdeEncoder
from irkit.stages.multivector.fde_torch import TorchDocuments

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and maxsim_gpu.available()), reason="no CUDA device with Triton here"
)


@pytest.mark.parametrize(
    ("options", "dim"),
    [
        ({}, 128),
        ({"k_sim": 0}, 96),
        ({"k_sim": 3, "d_proj": 8, "projection": "count-sketch"}, 384),
        ({"k_sim": 2, "d_proj": None}, 64),
        ({"k_sim": 4, "final_dim": 512}, 100),
        ({"fill_empty": False}, 32),
        ({"k_sim": 9, "repetitions": 2}, 64),  # too many partitions for the kernel: torch
    ],
)
def test_documents_equal_the_cpus(options: dict[str, Any], dim: int) -> None:
    rng = np.random.default_rng(dim)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 150, 60))])
    vectors = unit(rng.normal(size=(offsets[-1], dim))).astype(np.float16)
    encoder = FdeEncoder(FdeConfig(**options), dim)
    ours = TorchDocuments(encoder, "cuda").documents(offsets, vectors).cpu().numpy()
    np.testing.assert_allclose(ours, encoder.documents(offsets, vectors), rtol=0, atol=2e-6)


def test_a_long_document() -> None:
    rng = np.random.default_rng(9)
    offsets, vectors = np.array([0, 20000]), unit(rng.normal(size=(20000, 64))).astype(np.float16)
    encoder = FdeEncoder(FdeConfig(), 64)
    ours = TorchDocuments(encoder, "cuda").documents(offsets, vectors).cpu().numpy()
    np.testing.assert_allclose(ours, encoder.documents(offsets, vectors), rtol=0, atol=1e-5)
