"""Reading attention so that a loss of it can be brought back to the weights.

The forward pass is that of the reading in :mod:`irkit.models.lm.attention`, with other arithmetic: nothing is written in place, and
all prompts of a step are one pass. Layers of the makes that :mod:`irkit.models.lm.learning.layers` knows are computed there;
others by transformers' own code, with an attention function of this module.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.core.errors import ModelError
from irkit.models.lm.attention import Enough, refuse_strange
from irkit.models.lm.learning.attention import learns, looked, mixed, padded, taken
from irkit.models.lm.learning.layers import Layers, are_known
from irkit.models.lm.learning.lesson import Lesson

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

NAME = "irkit-learning"
"""Of the attention function in transformers' registry."""
_HOLDER = "irkit_lesson"


class LearningReader:
    """A causal language model of transformers whose attention in one layer can be learned.

    Attributes:
        model: the whole model; its layers above ``layer`` are never run.
        layer: the layer, from 0, that is read.
        quick: whether its layers are of a make that is computed in fewer steps.
    """

    def __init__(
        self,
        model: Any,
        layer: int,
        *,
        dtype: str | None = None,
        checkpointing: bool = False,
        quick: bool = True,
    ) -> None:
        """Take a model in its place, and set its attention function.

        Args:
            model: its weights may be frozen, and updated by peft; those of matrices must not be replaced afterwards.
            layer: to be read.
            dtype: of the arithmetic; that of the weights unless given.
            checkpointing: compute layers again on the way back: a third more work, and a fraction of the memory.
            quick: use the layers of this package where they are known.

        Raises:
            ModelError: when it has no such layer.
        """
        import torch
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, _attend)
        count = int(model.config.get_text_config().num_hidden_layers)
        if not 0 <= layer < count:
            raise ModelError.of(
                f"the model has no layer {layer}: it has {count}, counted from 0",
                where="layer",
                hint="take a smaller one, or leave it out",
            )
        model.set_attn_implementation(NAME)
        self.model, self.layer = model, layer
        self._dtype = getattr(torch, dtype) if dtype else next(model.parameters()).dtype
        self.quick = quick and are_known(model, layer)
        self._layers = Layers(model, layer, checkpointing) if self.quick else None
        self._holder = _Holder(layer)
        for module in model.modules():
            if hasattr(module, "layer_idx") and hasattr(module, "k_proj"):
                setattr(module, _HOLDER, self._holder)
        if checkpointing and not self.quick:
            model.train()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.base_model.layers[layer].gradient_checkpointing = False  # it is left half-way

    @property
    def window(self) -> int | None:
        """How many positions back a token of the model sees; None for all."""
        config = self.model.config.get_text_config()
        kinds, window = getattr(config, "layer_types", None), getattr(config, "sliding_window", None)
        return int(window) if window and (kinds is None or "sliding_attention" in kinds) else None

    def shares(self, lesson: Lesson) -> Tensor:
        """Return how much the tokens that are read look at each of the documents' tokens, ``float32[B, K]``.

        That is the softmax over these tokens, and of it the mean over heads and rows. K is that of the prompt with most tokens of
        documents; what a prompt lacks is 0.

        Args:
            lesson: the prompts, on the model's device.

        Raises:
            ModelError: when the model's attention is of a kind that is not learned here, or its window shorter than a prompt.
        """
        import torch

        if self.window is not None and lesson.reach >= self.window:
            message = f"the model sees {self.window} positions back, and a prompt is {lesson.reach + 1} positions long"
            hint = "take fewer words or a smaller query_position, or a model without a sliding window"
            raise ModelError.of(message, where=type(self.model).__name__, hint=hint)
        if self._layers is not None:
            return self._layers.shares(lesson, self._dtype)
        self._holder.lesson, self._holder.found = lesson, None
        device = lesson.ids.device.type
        mixed_precision = self._dtype != next(self.model.parameters()).dtype
        kind = self._dtype if mixed_precision else torch.bfloat16
        with torch.autocast(device, kind, enabled=mixed_precision), suppress(Enough):
            self.model.base_model(
                input_ids=lesson.ids[None], position_ids=lesson.positions[None], use_cache=False
            )
        if self._holder.found is None:
            message, hint = (
                "the attention of this model cannot be read",
                "take a Llama, Mistral, Qwen or SmolLM model",
            )
            raise ModelError.of(message, where=type(self.model).__name__, hint=hint)
        return self._holder.found


class _Holder:
    """Where attention modules find the lesson: also when a backward pass computes a layer again."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.lesson: Lesson | None = None
        self.found: Tensor | None = None


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Carry out the lesson in one layer; the arguments are those of :func:`irkit.models.lm.attention.attend`."""
    import torch

    refuse_strange(module, attention_mask, others)
    if softcap is not None:
        hint = "take a Llama, Mistral, Qwen, Gemma 3 or SmolLM model"
        raise ModelError.of("capped attention is not learned here", where=type(module).__name__, hint=hint)
    holder = getattr(module, _HOLDER)
    lesson = holder.lesson
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))  # [T, heads, head_dim]
    if int(module.layer_idx) == holder.last:
        asked = taken(queries, lesson.looking.flatten(), lesson.not_looking)
        holder.found = looked(lesson, asked, taken(keys, lesson.documents, lesson.not_documents), scale)
        raise Enough
    if learns(queries.device, queries.dtype, queries.shape[-1]):
        joined = torch.cat([queries, keys, values], 1)
        return mixed(lesson, joined, queries.shape[1], scale, None)[None], None
    return padded(lesson, queries, keys, values, scale)[None], None
