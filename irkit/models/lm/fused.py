"""Fewer passes over memory: on CUDA the layers' norms and gated activations as one kernel each.

transformers writes both as several elementwise steps, and at 16,000 tokens those cost a tenth of a forward pass. Both here round
once, at the end, where the steps round in between; the models' weights and everything else stay as they are.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
_GATED = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"}
_SMALL = 1 << 22
"""Numbers below which launching the kernel from Python takes longer than two passes over them."""


def fuse(model: Any) -> None:
    """Have the norms and gated activations of a model on CUDA in half precision computed by one kernel each.

    Layers of other classes than transformers' Llama, Mistral and Qwen have are left alone: Gemma's norm is another.
    """
    import torch

    if (
        next(model.parameters()).device.type != "cuda"
        or model.dtype == torch.float32
        or not find_spec("triton")
    ):
        return
    for module in model.modules():
        kind = type(module).__name__
        if kind in _NORMS:
            module.forward = partial(_norm, module.weight, float(module.variance_epsilon))
        elif kind in _GATED and isinstance(module.act_fn, torch.nn.SiLU | _silu()):
            module.forward = partial(_gated, module)


def _silu() -> Any:
    from transformers.activations import ACT2FN

    return type(ACT2FN["silu"])


def _norm(weight: Tensor, epsilon: float, hidden_states: Tensor) -> Tensor:
    from torch.nn.functional import rms_norm

    return rms_norm(hidden_states, weight.shape, weight, epsilon)


def _gated(module: Any, x: Tensor) -> Tensor:
    from torch.nn.functional import silu

    gate, up = module.gate_proj(x), module.up_proj(x)
    if gate.numel() < _SMALL:
        inner = silu(gate, inplace=True).mul_(up)
    else:
        from irkit.models.lm.fused_triton import silu_times

        inner = silu_times(gate, up)
    found: Tensor = module.down_proj(inner)
    return found
