"""How much attention every token receives in a model's last layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from irkit.core.errors import ModelError

_BUDGET = 1 << 29
"""Bytes of attention weights in one batch: transformers keeps those of every layer until the pass is over."""


class Attention:
    """A context in which a loaded model's forward passes also tell the attention that tokens receive.

    The fast attention kernels never form the weights, so the model computes attention step by step ("eager") as long
    as this is entered: its vectors then differ from the usual ones in the last bits.

    The salience of token j is the mean of softmax weights A[h, i, j] of the last layer over its heads h and over the
    positions i that the model attends to, padding left out. Over the tokens of a text it sums to 1.
    """

    def __init__(self, loaded: Any, name: str) -> None:
        """Take a sentence-transformers model.

        Raises:
            ModelError: when it has no transformer.
        """
        self._transformer = loaded.transformers_model
        self._name = name
        self._local = threading.local()
        self._usual: str | None = None
        self._own_forward: Callable[..., Any] | None = None
        if self._transformer is None:
            raise self._error("it has no transformer")

    def __enter__(self) -> Attention:
        transformer = self._transformer
        self._usual = getattr(transformer.config, "_attn_implementation", None)
        try:
            transformer.set_attn_implementation("eager")
        except (AttributeError, ValueError, ImportError) as error:
            raise self._error(str(error)) from error
        self._own_forward = vars(transformer).get("forward")
        # not a hook: sentence-transformers calls forward itself, past them
        transformer.forward = self._watched(transformer.forward)
        return self

    def __exit__(self, *_: object) -> None:
        if self._own_forward is None:
            del self._transformer.forward
        else:
            self._transformer.forward = self._own_forward
        if self._usual is not None:
            self._transformer.set_attn_implementation(self._usual)

    def most(self, width: int) -> int:
        """Return how many texts of so many tokens fit in one batch."""
        config = self._transformer.config
        matrices = getattr(config, "num_hidden_layers", 12) * getattr(config, "num_attention_heads", 12)
        return max(1, _BUDGET // (4 * matrices * width * width))

    def received(self) -> Any:
        """Return the salience of the tokens in this thread's last forward pass, a float32 tensor (texts, positions)."""
        return self._local.received

    def _watched(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(**given: Any) -> Any:
            output = forward(**given, output_attentions=True)
            attentions = getattr(output, "attentions", None)
            if not attentions or attentions[-1] is None:
                raise self._error("its code does not return them")
            self._local.received = _received(attentions[-1], given["attention_mask"])
            return output

        return watched

    def _error(self, reason: str) -> ModelError:
        return ModelError.of(
            f"the model cannot give its attention weights: {reason}",
            where=self._name,
            hint="prune by stop words, or take another model",
        )


def _received(weights: Any, mask: Any) -> Any:
    """Average weights (texts, heads, attending, attended) over the heads and over the attending positions that count."""
    counts = mask.to(weights.device).float()
    total = (weights.float().mean(dim=1) * counts[:, :, None]).sum(dim=1)
    return total / counts.sum(dim=1, keepdim=True).clamp(min=1)
