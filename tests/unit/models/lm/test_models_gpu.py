"""Tests of language models and rerankers on CUDA: what they compute in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from blockranking import DOCS, QUERY, ranked, stage
from tiny_lm import open_tiny, tiny_lm

from irkit.core.queries import Queries
from irkit.models.lm import layers
from irkit.models.lm.generation import generate
from irkit.models.lm.segments import Read, Segments
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"]
PRECISIONS = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    root, done = tmp_path_factory.mktemp("models"), {}

    def make(family: str) -> Path:
        if family not in done:
            more = {"sliding_window": None} if family == "mistral" else {}
            done[family] = tiny_lm(root / family, family, spread=0.1, **more)
        return done[family]

    return make


def whole_model(path: Path, **options: Any) -> np.ndarray:
    """Return what every layer reads of a prompt with documents, long enough for every kernel."""
    model, rng, found = open_tiny(path, **options), np.random.default_rng(0), {}
    sizes = [20, *rng.integers(5, 90, 30).tolist()]
    total = sum(sizes)
    parts = [(rng.integers(5, 400, size), 20 if n else 0, (0, 20 if n else 0)) for n, size in enumerate(sizes)]  # fmt: skip
    parts.append((rng.integers(5, 400, 12), 200, (0, total)))
    reads = [Read((total + 9, total + 12), (20, total), over) for over in ("visible", "documents")]

    def sink(layer: int, read: int, weights: torch.Tensor) -> None:
        found[layer, read] = weights.cpu().numpy()

    model.read(Segments.of(parts), reads=reads, sink=sink)
    assert len(found) == 2 * model.layers
    return np.stack([found[key] for key in sorted(found)])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_reads_what_it_reads_on_the_cpu(family: str, folder: Callable[..., Path]) -> None:
    right = whole_model(folder(family))
    for dtype, tolerance in PRECISIONS.items():
        found = whole_model(folder(family), device="cuda", dtype=dtype)
        assert np.abs(found - right).max() / right.max() < tolerance, dtype


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_fused_layers_are_the_layers(
    family: str, folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"device": "cuda", "dtype": "bfloat16"}
    fused = whole_model(folder(family), **options)
    model = open_tiny(folder(family), **options)
    assert sum("forward" in vars(layer) for layer in model.model.base_model.layers) == model.layers
    monkeypatch.setattr("irkit.models.lm.fused._LARGE", 0)  # the gates' kernel
    gates = whole_model(folder(family), **options)
    monkeypatch.setattr("irkit.models.lm.model.quicken", lambda _model: None)
    plain = whole_model(folder(family), **options)
    for found in (fused, gates):
        assert 0 < np.abs(found - plain).max() / plain.max() < PRECISIONS["bfloat16"]


@pytest.mark.parametrize("size", [1, 4095, 4096, 100_003])
def test_gates_by_one_kernel(size: int) -> None:
    from irkit.models.lm.fused_triton import silu_times

    gate, up = torch.randn(2, size, device="cuda").bfloat16() * 4
    expected = torch.nn.functional.silu(gate.double()) * up.double()
    torch.testing.assert_close(silu_times(gate.clone(), up).double(), expected, rtol=2**-8, atol=1e-6)


def shares(path: Path, **options: Any) -> np.ndarray:
    """Return the scores of some documents, twice over, in the order of the documents."""
    docs = SimpleNamespace(text=(DOCS * 3).__getitem__, title=lambda _: "", body=(DOCS * 3).__getitem__)
    collection = SimpleNamespace(docs=docs, queries=None, name="none", fingerprint="none")
    context = Context(collection, None)  # type: ignore[arg-type]
    model, found = stage(path, **options), []
    state = model.prepare(context)
    for some in (range(12), range(6, 24), range(12)):
        codes, scores = model.run(Batch(Queries.of([QUERY]), (ranked(list(some)),)), state)[0]
        found.append(scores[np.argsort(codes)])
    assert np.array_equal(found[0], found[2]) or options["device"] != "cpu"
    return np.concatenate(found)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_kept_documents_score_as_computed_ones(family: str, folder: Callable[..., Path]) -> None:
    right = shares(folder(family), layout="query-free", device="cpu")
    for dtype, tolerance in PRECISIONS.items():
        options = {"layout": "query-free", "device": "cuda", "dtype": dtype}
        for cache in (None, 1e-2, 2e-4):  # none is kept; all are; too few for the lists
            found = shares(folder(family), **options, cache_gb=cache)
            assert np.abs(found - right).max() / right.max() < tolerance, (dtype, cache)


def test_prompts_that_share_a_call_are_answered_as_each_alone(folder: Callable[..., Path]) -> None:
    model = open_tiny(folder("llama"), attention="sdpa", device="cuda")
    rng = np.random.default_rng(1)
    prompts, limits = [rng.integers(5, 400, size) for size in (40, 3, 77, 40, 12)], [20, 5, 12, 1, 30]
    together = list(generate(model, prompts, limits))
    alone = [text for each in zip(prompts, limits, strict=True) for text in generate(model, *([one] for one in each))]  # fmt: skip
    assert together == alone and len(set(alone)) > 3


def test_a_model_that_generates_has_its_own_layers(folder: Callable[..., Path]) -> None:
    prompt = [np.arange(5, 90)]
    quick = open_tiny(folder("llama"), attention="sdpa", device="cuda", dtype="bfloat16")
    written = list(generate(quick, prompt, [30]))
    for layer in quick.model.base_model.layers:
        assert vars(layer).pop("forward").func is layers._forward
    assert list(generate(quick, prompt, [30])) == written
