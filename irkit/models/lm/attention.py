"""One attention function for transformers' ``AttentionInterface``: the model's own attention over packed segments, and beside it
the softmax of the few rows that are wanted.

No attention matrix is ever made. The output of a segment comes from the library's fused kernels; the wanted rows are
computed again in float32 from the same queries and keys, grouped as the key heads are, and averaged over the query tokens at
once. When the last wanted layer has given its rows, the forward pass is left: its own output, and all layers above, are never
computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.core.errors import ModelError
from irkit.models.lm.kernels import outputs
from irkit.models.lm.plan import Form, Plan

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

NAME = "irkit"
"""Of the function in transformers' registry: what ``attn_implementation`` is set to."""

_HARMLESS = {
    "dropout", "is_causal", "position_ids", "output_attentions", "output_hidden_states", "use_cache", "cache_position",
    "return_dict",
}  # fmt: skip


class Enough(Exception):  # noqa: N818 - no error: the forward pass has given all that is wanted of it
    """Ends a forward pass."""


_plan: ContextVar[Plan] = ContextVar("plan")


@contextmanager
def carrying_out(plan: Plan) -> Iterator[None]:
    """Have the attention function carry out a plan, and catch the end of the pass."""
    token = _plan.set(plan)
    try:
        yield
    except Enough:
        pass
    finally:
        _plan.reset(token)


def register() -> None:
    """Make the function known to transformers. Without a mask function of its own, no mask is ever built for it."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
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
    """Carry out the plan in one layer.

    Args:
        module: the attention module, with ``layer_idx``.
        query: ``[1, heads, T, head_dim]``, positions applied.
        key: ``[1, key heads, T, head_dim]``, positions applied.
        value: ``[1, key heads, T, head_dim]``.
        attention_mask: must be None: who sees whom is said by the plan.
        scaling: of the products; 1 / sqrt(head_dim) unless given.
        softcap: products p become softcap tanh(p / softcap) (Gemma 2).
        sliding_window: a token sees no token whose position is that far before its own, or farther.
        others: what models pass besides; whatever could change the attention is refused.

    Returns:
        ``[1, T, heads, head_dim]`` and None.

    Raises:
        ModelError: when the model's attention is of a kind that is not computed here.
        Enough: after the last wanted layer.
    """
    refuse_strange(module, attention_mask, others)
    form = Form(scaling if scaling is not None else query.shape[-1] ** -0.5, softcap, sliding_window or None)
    output = carry_out(_plan.get(), int(module.layer_idx), query[0], key[0], value[0], form)
    return output.transpose(0, 1)[None], None


def refuse_strange(module: Any, attention_mask: Tensor | None, others: Mapping[str, Any]) -> None:
    """Refuse an attention module that is not causal, a mask, and options that could change the attention.

    Raises:
        ModelError: naming what is asked for.
    """
    strange = [
        name
        for name, given in others.items()
        if name not in _HARMLESS and given is not None and given is not False
    ]
    if attention_mask is not None:
        strange.append("a mask")
    if not getattr(module, "is_causal", True):
        strange.append("attention that is not causal")
    if strange:
        raise ModelError.of(
            f"the attention of this model cannot be read: it uses {', '.join(sorted(strange))}",
            where=type(module).__name__,
            hint="take a Llama, Mistral, Qwen, Gemma or SmolLM model",
        )


def plan_of_pass() -> Plan:
    """Return the plan that is carried out."""
    return _plan.get()


def carry_out(plan: Plan, layer: int, queries: Tensor, keys: Tensor, values: Tensor, form: Form) -> Tensor:
    """Carry out the plan in one layer: return its output, ``[heads, T, head_dim]``.

    Args:
        plan: what the pass is to do.
        layer: its number.
        queries: ``[heads, T, head_dim]``, positions applied.
        keys: ``[key heads, T, head_dim]``, positions applied.
        values: ``[key heads, T, head_dim]``.
        form: of the scores.

    Raises:
        Enough: after the last wanted layer.
    """
    plan.seen.append(layer)
    if plan.keep:
        plan.keep(layer, keys, values)
    if plan.past:
        keys, values = plan.past.join(layer, keys, values)
    reads = plan.reads if plan.sink and (plan.layers is None or layer in plan.layers) else ()
    last = layer >= plan.last
    weights, output = outputs(plan, reads, queries, keys, None if last else values, form)
    for number, each in enumerate(weights):
        plan.sink(layer, number, each)  # type: ignore[misc]
    if output is None:
        raise Enough
    return output
