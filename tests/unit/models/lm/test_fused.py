"""Tests of gates computed in place: the same numbers in less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_lm import open_tiny, tiny_lm
from transformers import AutoModelForCausalLM


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_computes_the_same_to_the_last_bit(family: str, dtype: str, tmp_path: Path) -> None:
    folder = tiny_lm(tmp_path, family)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    fused = open_tiny(folder, dtype=dtype, attention="sdpa")
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        expected = plain.base_model(ids).last_hidden_state
        assert torch.equal(fused.model.base_model(ids).last_hidden_state, expected)


@pytest.mark.parametrize(("family", "changed"), [("llama", 4), ("qwen3", 4), ("gemma", 0)])
def test_gates_of_known_layers_are_replaced(family: str, changed: int, tmp_path: Path) -> None:
    model = open_tiny(tiny_lm(tmp_path, family)).model
    replaced = [name for name, module in model.named_modules() if "forward" in vars(module)]
    assert len(replaced) == changed
    assert all(name.endswith(".mlp") for name in replaced)


def test_another_activation_is_left_alone(tmp_path: Path) -> None:
    model = open_tiny(tiny_lm(tmp_path, "llama", hidden_act="gelu")).model
    assert not [module for module in model.modules() if "forward" in vars(module)]
