"""Decoder layers in fewer steps, on CUDA in half precision: what transformers' own do, in half as many launches from Python.

A query over kept documents has a hundred tokens: a GPU is through with a layer before Python has launched the thirty kernels of
transformers' own. Here one product gives queries, keys and values, and one both halves of a gated activation, for which the
matrices are laid one behind the other in memory; positions are applied to queries and keys at once; and the product before a
residual adds it. It is rounded less often than there. The layers are those of Llama, Mistral, Qwen2 and Qwen3, asked for what
:class:`irkit.models.lm.model.CausalLM` asks for: one packed prompt, no cache. Whatever else is asked of them, transformers' own
code does, with the same modules and weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.models.device import has_triton
from irkit.models.lm.attention import NAME, carry_out, plan_of_pass, refuse_strange
from irkit.models.lm.fused import fuse, gated, is_half_on_cuda, is_large
from irkit.models.lm.plan import Form

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_LAYERS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"}


def quicken(model: Any) -> None:
    """Have a model's layers computed in fewer passes over memory, and on CUDA in half precision in fewer steps."""
    fuse(model)
    if is_half_on_cuda(model):
        shorten(model)


def shorten(model: Any) -> None:
    """Give a model's decoder layers a forward pass of fewer steps; it takes their modules' as :func:`fuse` left them.

    Layers of another make, with another activation, or with matrices that are quantised or adapted, are left alone.
    """
    import torch

    for module in model.modules():
        if type(module).__name__ in _LAYERS and "forward" not in vars(module) and _plain(module):
            with torch.no_grad():
                module.forward = partial(_forward, module, Layer(module))
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # where the matrices lay before, nothing greater has room


def _plain(module: Any) -> bool:
    import torch

    attention, mlp = module.self_attn, module.mlp
    alike = [(attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)]
    others = [(attention.o_proj,), (mlp.down_proj,)]
    return "forward" in vars(mlp) and all(
        all(type(each) is torch.nn.Linear for each in some) and len({each.bias is None for each in some}) == 1
        for some in alike + others
    )


def _forward(module: Any, layer: Layer, hidden_states: Tensor, **options: Any) -> Tensor:
    """Compute a layer, as transformers' own would."""
    cached = options.pop("past_key_values", None)
    if cached is not None or layer.config._attn_implementation != NAME:
        found: Tensor = type(module).forward(module, hidden_states, past_key_values=cached, **options)
        return found
    return layer(hidden_states, **options)


class Layer:
    """The weights of a decoder layer, and what is done with them.

    Attributes:
        config: of its attention.
    """

    def __init__(self, module: Any) -> None:
        """Take a module of transformers, and lay its matrices one behind the other."""
        attention, self._mlp = module.self_attn, module.mlp
        self._attention, self._number, self.config = attention, int(attention.layer_idx), attention.config
        self._before, self._between = module.input_layernorm.forward, module.post_attention_layernorm.forward
        self._looks = side_by_side([attention.q_proj, attention.k_proj, attention.v_proj])
        self._gates = side_by_side([self._mlp.gate_proj, self._mlp.up_proj])
        self._inner = len(self._mlp.gate_proj.weight)
        self._after, self._last = ((each.weight.t(), each.bias) for each in (attention.o_proj, self._mlp.down_proj))  # fmt: skip
        self._by_kernel = self._looks[0].is_cuda and has_triton()
        dim = int(attention.head_dim)
        self._heads, self._key_heads = (len(each.weight) // dim for each in (attention.q_proj, attention.k_proj))  # fmt: skip
        self._shape = (-1, self._heads + 2 * self._key_heads, dim)
        norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]  # Qwen3's
        self._norms = [norm.forward for norm in norms if norm is not None]
        # Qwen's attention knows its own window, and None where it has none; Mistral's takes the model's
        window = getattr(attention, "sliding_window", getattr(self.config, "sliding_window", None))
        self._form = Form(float(attention.scaling), None, window or None)

    def __call__(
        self,
        hidden: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        """Write the layer's output over ``[1, T, hidden]``, and return it."""
        import torch
        from torch.nn.functional import linear, silu

        refuse_strange(self._attention, attention_mask, others)
        plan = plan_of_pass()
        if plan.turn is None:
            plan.turn = Turn(*position_embeddings)
        stream = hidden[0]
        looks = linear(self._before(stream), *self._looks).view(self._shape)
        both, values = looks.split_with_sizes((self._heads + self._key_heads, self._key_heads), 1)
        if self._norms:
            parts = both.split_with_sizes((self._heads, self._key_heads), 1)
            both = torch.cat([norm(part) for norm, part in zip(self._norms, parts, strict=True)], 1)
        queries, keys = plan.turn(both).transpose(0, 1).split_with_sizes((self._heads, self._key_heads))
        mixed = carry_out(plan, self._number, queries, keys, values.transpose(0, 1), self._form)
        _add(stream, mixed.transpose(0, 1).reshape(stream.shape[0], -1), *self._after)
        normed = self._between(stream)
        if is_large(stream.shape[0] * self._inner):
            inner = gated(self._mlp, normed, self._by_kernel)
        else:
            gate, up = linear(normed, *self._gates).chunk(2, 1)
            inner = silu(gate, inplace=True).mul_(up)
        _add(stream, inner, *self._last)
        return hidden


class Turn:
    """The positions of T tokens: turns coordinates i and i + head_dim / 2 by an angle (Su et al., 2021, arXiv 2104.09864, eq. 34,
    with GPT-NeoX's pairs)."""

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        """Take cosines and sines, ``[1, T, head_dim]``."""
        self._cos = cos[0].unsqueeze(1)
        self._first, self._second = sin[0].unsqueeze(1).chunk(2, 2)

    def __call__(self, part: Tensor) -> Tensor:
        """Return ``[T, heads, head_dim]``, turned."""
        there = part * self._cos
        first, second = part.chunk(2, 2)
        one, other = there.chunk(2, 2)
        one.addcmul_(second, self._first, value=-1)
        other.addcmul_(first, self._second)
        return there


def side_by_side(matrices: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
    """Lay the weights, and the biases if there are any, of linear modules one behind the other in memory; return them as one.

    The modules keep their parameters, which lie there then.
    """
    import torch

    def laid(parameters: Sequence[Any]) -> Tensor:
        whole = torch.cat([each.data for each in parameters])
        for each, part in zip(parameters, whole.split([len(each) for each in parameters]), strict=True):
            each.data = part
        return whole

    weights = laid([each.weight for each in matrices])
    return weights, None if matrices[0].bias is None else laid([each.bias for each in matrices])


def _add(stream: Tensor, inner: Tensor, weights: Tensor, bias: Tensor | None) -> None:
    """Add the product with a transposed matrix to the residual stream, ``[T, hidden]``."""
    stream.addmm_(inner, weights)
    if bias is not None:
        stream.add_(bias)
