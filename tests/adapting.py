"""Adapters of tiny models, made by peft with updates that are far from nothing, and folders as training writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irkit.models import trained
from irkit.models.trained import HEAD

QUERIES_AND_VALUES = ("q_proj", "v_proj")


def adapt(folder: Path, model: Any, base: str, **options: Any) -> dict[str, Any]:
    """Write an adapter of a model of transformers, of rank 2; return what the model's adapted weights are, by name, in float64.

    Args:
        folder: to be made.
        model: the base model; it is not changed for good.
        base: what the adapter calls it.
        options: go to peft's configuration.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    scale = 4 / 2
    config = LoraConfig(**{"r": 2, "lora_alpha": 4, "target_modules": list(QUERIES_AND_VALUES), **options})
    both = get_peft_model(model, config)
    torch.manual_seed(1)
    weights = {}
    for name, layer in both.base_model.model.named_modules():
        if hasattr(layer, "lora_B"):
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            a.data.normal_(std=0.3)
            b.data.normal_(std=0.3)
            updated = layer.base_layer.weight.double() + scale * b.double() @ a.double()
            weights[f"{name}.weight"] = updated.detach()
    both.peft_config["default"].base_model_name_or_path = base
    both.save_pretrained(str(folder), save_embedding_layers=False)
    both.unload()
    return weights


def describe(
    folder: Path, kind: str, base: tuple[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> Path:
    """Write what irkit's training says of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    trained.describe(folder, kind, base, options or {})
    return folder


def head(folder: Path, dim: int, hidden: int, seed: int = 0) -> Any:
    """Write a projection of token vectors and return its matrix ``float32[dim, hidden]``."""
    import numpy as np
    from safetensors.numpy import save_file

    weight = np.random.default_rng(seed).normal(size=(dim, hidden)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": weight}, folder / HEAD)
    return weight
