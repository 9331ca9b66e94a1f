"""Decoder layers as they are learned: those of transformers' Llama, Mistral, Qwen2 and Qwen3, with their modules and weights.

Of a forward and a backward pass of a small model most time goes into passes over memory. Here products of one input are one,
residuals are added inside products, and on CUDA norms, gates and turns are one kernel each, in both directions. Of the last layer
only what is read is computed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.models.device import has_triton
from irkit.models.lm.learning.attention import looked, mixed, taken, turned
from irkit.models.lm.learning.lesson import Lesson
from irkit.models.lm.learning.products import Product

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any


_LAYERS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"}
_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}


def are_known(model: Any, last: int) -> bool:
    """Whether the layers of a model of transformers up to ``last`` are of a make that is known here."""
    inner = model.base_model
    return hasattr(inner, "rotary_emb") and all(
        type(each).__name__ in _LAYERS
        and each.self_attn.config.hidden_act == "silu"
        and type(each.input_layernorm).__name__ in _NORMS
        for each in inner.layers[: last + 1]
    )


class Layers:
    """A model's embeddings and its layers up to the one that is read."""

    def __init__(self, model: Any, last: int, checkpointing: bool) -> None:
        """Take a model of transformers, whose matrices peft may have updated.

        Args:
            model: in its place and precision.
            last: the layer that is read.
            checkpointing: compute layers again on the way back.
        """
        inner = model.base_model
        self._embed, self._rotary, self._checkpointing = inner.embed_tokens, inner.rotary_emb, checkpointing
        self._layers = [_Layer(each) for each in inner.layers[:last]]
        self._last = _LastLayer(inner.layers[last])

    def shares(self, lesson: Lesson, dtype: Any) -> Tensor:
        """Return what :meth:`irkit.models.lm.learning.reader.LearningReader.shares` says, computed in a precision."""
        import torch
        from torch.utils.checkpoint import checkpoint

        hidden = self._embed(lesson.ids).to(dtype)
        angles = tuple(each[0] for each in self._rotary(hidden[None], lesson.positions[None]))
        for layer in self._layers:
            if self._checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(
                    layer, hidden, angles, lesson, use_reentrant=False, preserve_rng_state=False
                )
            else:
                hidden = layer(hidden, angles, lesson)
        return self._last(hidden, angles, lesson)


class _Layer:
    """A layer below the one that is read."""

    def __init__(self, module: Any) -> None:
        attention, mlp = module.self_attn, module.mlp
        self._before, self._between = module.input_layernorm, module.post_attention_layernorm
        self._looks = Product([attention.q_proj, attention.k_proj, attention.v_proj])
        self._after = Product([attention.o_proj])
        self._gates, self._down = Product([mlp.gate_proj, mlp.up_proj]), Product([mlp.down_proj])
        self._form = _Form(attention)

    def __call__(self, hidden: Tensor, angles: tuple[Tensor, Tensor], lesson: Lesson) -> Tensor:
        import torch

        form = self._form
        joined = self._looks(_normed(self._before, hidden)).view(len(hidden), -1, form.dim)
        if form.norms:
            key_heads = (joined.shape[1] - form.heads) // 2
            parts = joined.split((form.heads, key_heads, key_heads), 1)
            joined = torch.cat(
                [_normed(form.norms[0], parts[0]), _normed(form.norms[1], parts[1]), parts[2]], 1
            )
        found = mixed(lesson, joined, form.heads, form.scale, angles)
        hidden = self._after(found.flatten(1), hidden)
        return self._down(_gated(self._gates(_normed(self._between, hidden))), hidden)


class _LastLayer:
    """The layer that is read: keys of the documents' tokens, queries of the tokens that look."""

    def __init__(self, module: Any) -> None:
        self._before, self._form = module.input_layernorm, _Form(module.self_attn)
        self._queries, self._keys = Product([module.self_attn.q_proj]), Product([module.self_attn.k_proj])

    def __call__(self, hidden: Tensor, angles: tuple[Tensor, Tensor], lesson: Lesson) -> Tensor:
        form, normed = self._form, _normed(self._before, hidden)
        asked = taken(normed, lesson.looking.flatten(), lesson.not_looking)
        seen = taken(normed, lesson.documents, lesson.not_documents)
        queries = self._queries(asked).unflatten(1, (-1, form.dim))
        keys = self._keys(seen).unflatten(1, (-1, form.dim))
        if form.norms:
            queries, keys = _normed(form.norms[0], queries), _normed(form.norms[1], keys)
        places = lesson.looking.flatten().clamp(
            max=len(hidden) - 1
        )  # where a list has fewer rows, any will do
        queries = turned(queries, *(each[places] for each in angles))
        keys = turned(keys, *(each[lesson.documents] for each in angles))
        return looked(lesson, queries, keys, form.scale)


class _Form:
    """What an attention module says of itself: the heads, their dimension, the scale, and Qwen3's norms of queries and keys."""

    def __init__(self, attention: Any) -> None:
        self.dim, self.scale = int(attention.head_dim), float(attention.scaling)
        inner = getattr(attention.q_proj, "base_layer", attention.q_proj)
        self.heads = len(inner.weight) // self.dim
        norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
        self.norms = [each for each in norms if each is not None]


def _normed(module: Any, x: Tensor) -> Tensor:
    import torch

    weight = module.weight.to(x.dtype)
    found: Tensor = torch.rms_norm(x, weight.shape, weight, float(module.variance_epsilon))
    return found


def _gated(joined: Tensor) -> Tensor:
    """Return silu(gate) * up of both, side by side."""
    from torch.nn.functional import silu

    if joined.is_cuda and has_triton():
        found: Tensor = _gating().apply(joined)
        return found
    gate, up = joined.chunk(2, 1)
    return silu(gate) * up


@cache
def _gating() -> Any:
    import torch

    from irkit.models.lm.learning.triton import gate, ungate

    class Gating(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, joined: Tensor) -> Tensor:
            ctx.save_for_backward(joined)
            return gate(joined)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return ungate(ctx.saved_tensors[0], grad.contiguous())

    return Gating
