"""Which weights of a language model are learned: updates of low rank, or all that the attention of a layer depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError
from irkit.models.lora import Updates

LOOKS = ("q_proj", "k_proj")
"""The matrices of the layer that is read on which its attention depends."""
MATRICES = (*LOOKS, "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def update(model: Any, rank: int, alpha: float, last: int, seed: int) -> Updates:
    """Freeze a model, and put updates beside the matrices that the attention of a layer depends on.

    Args:
        model: of transformers.
        rank: of the updates.
        alpha: they are scaled by alpha / rank.
        last: the layer that is read.
        seed: of the updates' first weights.

    Raises:
        ModelError: when the model has no such matrices.
    """
    targets = _targets(model, last)
    if not targets:
        hint = "take a Llama, Mistral, Qwen, Gemma or SmolLM model, or rank: null to train all weights"
        raise ModelError.of(
            "the model has none of the matrices that are updated", where=type(model).__name__, hint=hint
        )
    return Updates.inject(model, targets, rank, alpha, seed, task="CAUSAL_LM")


def whole(model: Any, last: int) -> dict[str, Any]:
    """Return all weights that the attention of a layer depends on, by their names in the model; the others are frozen.

    Raises:
        ModelError: when its layers are of another make.
    """
    model.requires_grad_(False)
    inner = model.base_model
    if not hasattr(inner, "layers") or not hasattr(getattr(inner.layers[last], "self_attn", None), "q_proj"):
        hint = "take a Llama, Mistral, Qwen, Gemma or SmolLM model"
        raise ModelError.of("the layers of this model are not known", where=type(model).__name__, hint=hint)
    for module in [inner.get_input_embeddings(), *inner.layers[:last], inner.layers[last].input_layernorm]:
        module.requires_grad_(True)
    attention = inner.layers[last].self_attn
    for name in (*LOOKS, "q_norm", "k_norm"):
        if hasattr(attention, name):
            getattr(attention, name).requires_grad_(True)
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def save_whole(folder: Path, model: Any, tokenizer: Any, last: int) -> None:
    """Write a model in float16 as transformers does, without the layers above one; it is left as it is."""
    from copy import deepcopy

    import torch

    config = deepcopy(model.config)
    text = config.get_text_config()
    text.num_hidden_layers = last + 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[: last + 1]
    cut = type(model)._from_config(config, dtype=torch.float16)
    kept = cut.state_dict().keys()
    cut.load_state_dict({name: each for name, each in model.state_dict().items() if name in kept})
    cut.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _targets(model: Any, last: int) -> list[str]:
    """Return the names of the matrices, in the order of the layers."""
    import torch

    names = {module: name for name, module in model.named_modules()}
    found = []
    for number, layer in enumerate(getattr(model.base_model, "layers", [])[: last + 1]):
        for name, module in layer.named_modules():
            kind = name.rpartition(".")[2]
            if kind in (LOOKS if number == last else MATRICES) and isinstance(module, torch.nn.Linear):
                found.append(f"{names[layer]}.{name}")
    return found
