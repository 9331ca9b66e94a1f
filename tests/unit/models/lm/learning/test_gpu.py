"""Learning attention on CUDA: flash attention and irkit's kernels against the plain products, and in every run the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learning_lists import lesson, loss_of, moved, prompts
from tiny_lm import tiny_lm

from irkit.models.device import deterministic, has_triton
from irkit.models.lm.learning.attention import gathered_sum, learns, mixed, padded, turned
from irkit.models.lm.learning.reader import LearningReader
from irkit.models.lm.learning.weights import update, whole

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

LAYER = 2
SIZES = (3, 20, 6, 40)


def off(found: torch.Tensor, right: torch.Tensor) -> float:
    """The distance from what is right, as a share of its length."""
    return float((found.double() - right.double()).norm() / right.double().norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "key_heads", "dim"), [(9, 3, 64), (4, 4, 64), (8, 1, 128), (4, 2, 16)])
def test_flash_attention_and_its_gradients(dtype: torch.dtype, heads: int, key_heads: int, dim: int) -> None:
    assert learns(torch.device("cuda"), dtype, dim)
    given, count = lesson(prompts(SIZES), "cuda"), heads + 2 * key_heads
    torch.manual_seed(0)
    joined = torch.randn(len(given.ids), count, dim, device="cuda", dtype=dtype)
    angle = torch.randn(len(given.ids), dim // 2, device="cuda").repeat(1, 2)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    grad = torch.randn(len(given.ids), heads, dim, device="cuda", dtype=dtype)
    runs = []
    for _ in range(3):
        own = joined.clone().requires_grad_()
        found = mixed(given, own, heads, dim**-0.5, (cos, sin))
        found.backward(grad)
        runs.append((found.detach(), own.grad))
    right = joined.double().requires_grad_()
    both = turned(right[:, : heads + key_heads], cos.double(), sin.double())
    plain = padded(given, both[:, :heads], both[:, heads:], right[:, heads + key_heads :], dim**-0.5)
    plain.backward(grad.double())
    limit = 0.02 if dtype == torch.bfloat16 else 0.005
    assert off(runs[0][0], plain.detach()) < limit
    for part in (slice(0, heads), slice(heads, heads + key_heads), slice(heads + key_heads, count)):
        assert off(runs[0][1][:, part], right.grad[:, part]) < limit
    for other in runs[1:]:
        assert torch.equal(other[0], runs[0][0]) and torch.equal(other[1], runs[0][1])


@pytest.mark.skipif(not has_triton(), reason="no Triton here")
@pytest.mark.parametrize("inner", [96, 1536])
def test_the_gate_and_its_gradient(inner: int) -> None:
    from irkit.models.lm.learning.triton import gate, ungate

    joined = torch.randn(333, 2 * inner, device="cuda", requires_grad=True)
    grad = torch.randn(333, inner, device="cuda")
    one, other = joined.chunk(2, 1)
    right = torch.nn.functional.silu(one) * other
    right.backward(grad)
    assert joined.grad is not None
    torch.testing.assert_close(gate(joined.detach()), right.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ungate(joined.detach(), grad), joined.grad, rtol=1e-5, atol=1e-5)


def test_gathered_gradients_are_summed() -> None:
    given = lesson(prompts(SIZES), "cuda")
    keys, values = torch.randn(2, len(given.gathered), 3, 64, device="cuda").unbind(0)
    out = torch.zeros(len(given.ids), 15, 64, device="cuda")
    gathered_sum(keys.contiguous(), values.contiguous(), given, out)
    right = torch.zeros(len(given.ids), 6, 64).index_add_(
        0, given.gathered.cpu(), torch.cat([keys, values], 1).cpu()
    )
    torch.testing.assert_close(out[:, 9:].cpu(), right, rtol=1e-5, atol=1e-5)


def learned(
    path: Path, device: str, rank: int | None, dtype: str, **options: Any
) -> tuple[float, dict[str, torch.Tensor]]:
    from transformers import AutoModelForCausalLM

    kept = getattr(torch, dtype if rank else "float32")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=kept).to(device)
    weights = update(model, rank, 8, LAYER, 3).weights if rank else whole(model, LAYER)
    if rank:
        moved(weights)
    reader = LearningReader(model, LAYER, dtype=dtype, **options)
    loss = loss_of(reader.shares(lesson(prompts(SIZES), device)))
    loss.backward()
    return float(loss.detach()), {name: each.grad.float().cpu() for name, each in weights.items()}


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("rank", [4, None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loss_and_gradients_are_those_of_the_cpu(
    tmp_path: Path, family: str, rank: int | None, dtype: str
) -> None:
    path = tiny_lm(tmp_path / "lm", family, spread=0.1)
    right, slopes = learned(path, "cpu", rank, "float32")
    found, mine = learned(path, "cuda", rank, dtype)
    limit = 0.002 if dtype == "float32" else 0.08
    assert found == pytest.approx(right, rel=limit)
    together = [torch.cat([each.flatten() for each in some.values()]) for some in (mine, slopes)]
    assert off(*together) < limit


@pytest.mark.parametrize("options", [{"checkpointing": True}, {}, {"quick": False}])
def test_gradients_are_the_same_in_every_run(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tiny_lm(tmp_path / "lm")
    with deterministic():
        first, second = (learned(path, "cuda", 4, "bfloat16", **options) for _ in range(2))
    assert first[0] == second[0]
    assert all(torch.equal(each, second[1][name]) for name, each in first[1].items())
