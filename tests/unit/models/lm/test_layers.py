"""Tests of decoder layers in fewer steps: the numbers of transformers' own, which still compute whatever else is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm.generation import generate
from irkit.models.lm.layers import Turn, shorten, side_by_side
from irkit.models.lm.model import CausalLM
from irkit.models.lm.segments import Read, Segments

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": 16},
    "qwen2": {},
    "qwen3": {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 2},
}


def opened(family: str, folder: Path, **options: Any) -> CausalLM:
    """Open a tiny model with biases and norms that are not what they begin with."""
    model = open_tiny(tiny_lm(folder / family, family, **FAMILIES.get(family, {})), **options)
    torch.manual_seed(1)
    for weights in model.model.parameters():
        if weights.ndim == 1:
            torch.nn.init.normal_(weights, mean=1, std=0.3)
    return model


def shortened(model: CausalLM) -> int:
    shorten(model.model)
    return sum("forward" in vars(layer) for layer in model.model.base_model.layers)


def read(model: CausalLM) -> np.ndarray:
    found, ids = [], np.arange(5, 60)
    segments = Segments.of([(ids, 0, (0, 0)), (ids[:9], 70, (0, 55)), (ids[9:20], 60, (10, 40))])
    reads = [Read((58, 64), (3, 50)), Read((70, 75), (10, 40))]
    model.read(segments, reads=reads, sink=lambda _layer, _read, weights: found.append(weights.numpy()))
    return np.concatenate([each.ravel() for each in found])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_stays_the_same(family: str, tmp_path: Path) -> None:
    model = opened(family, tmp_path)
    before = read(model)
    weights = {name: each.clone() for name, each in model.model.state_dict().items()}
    assert shortened(model) == model.layers
    np.testing.assert_allclose(read(model), before, rtol=2e-5, atol=1e-7)
    for name, each in model.model.state_dict().items():
        assert torch.equal(each, weights[name]), name
    assert shortened(model) == model.layers  # once more is not twice
    np.testing.assert_allclose(read(model), before, rtol=2e-5, atol=1e-7)


def test_other_layers_are_left_alone(tmp_path: Path) -> None:
    class Adapted(torch.nn.Linear):
        pass

    assert shortened(opened("gemma", tmp_path)) == 0
    assert shortened(open_tiny(tiny_lm(tmp_path / "gelu", "llama", hidden_act="gelu"))) == 0
    model = opened("llama", tmp_path)
    old = model.model.base_model.layers[1].self_attn.k_proj
    model.model.base_model.layers[1].self_attn.k_proj = Adapted(*old.weight.T.shape)
    assert shortened(model) == model.layers - 1


def test_a_model_that_generates_has_its_own_layers(tmp_path: Path) -> None:
    """To the last bit: but for its matrices' place in memory, nothing has changed."""
    model, prompt = opened("llama", tmp_path, attention="sdpa"), [np.arange(5, 60)]
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        before, text = model.model(ids).logits, list(generate(model, prompt, [20]))
        assert shortened(model) == model.layers
        assert torch.equal(model.model(ids).logits, before)
    assert list(generate(model, prompt, [20])) == text


def test_strange_attention_is_refused_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened("llama", tmp_path)
    shorten(model.model)
    monkeypatch.setattr(model.model.base_model.layers[1].self_attn, "is_causal", False)
    with pytest.raises(ModelError, match="attention that is not causal"):
        read(model)


def test_positions_are_transformers() -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    part, angles = torch.randn(7, 3, 8), torch.randn(1, 7, 4).repeat(1, 1, 2)
    expected, _ = apply_rotary_pos_emb(*[part.transpose(0, 1)[None]] * 2, angles.cos(), angles.sin())
    torch.testing.assert_close(Turn(angles.cos(), angles.sin())(part), expected[0].transpose(0, 1))


def test_matrices_side_by_side_are_the_modules_own() -> None:
    matrices = [torch.nn.Linear(5, size) for size in (3, 2)]
    before = [each(torch.ones(5)) for each in matrices]
    weights, bias = side_by_side(matrices)
    torch.testing.assert_close(torch.nn.functional.linear(torch.ones(5), weights, bias), torch.cat(before))
    weights.zero_()
    assert not any(each.weight.any() for each in matrices) and bias is not None
    assert side_by_side([torch.nn.Linear(5, 3, bias=False)])[1] is None
