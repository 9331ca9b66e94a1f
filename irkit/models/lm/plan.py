"""What one forward pass is to do: whose attention is wanted, over which tokens, and what was computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

Sink: TypeAlias = Callable[[int, int, Tensor], None]
"""Called with the number of a layer, of a read, and ``float32[heads, documents' tokens]``: the mean over the rows of their softmax.
"""
Keep: TypeAlias = Callable[[int, Tensor, Tensor], None]
"""Called with the number of a layer, and the keys and values ``[key heads, T, head_dim]`` of the tokens, positions applied."""


class Past(Protocol):
    """Keys and values of tokens that come before the segments, computed earlier."""

    length: int

    def join(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values ``[key heads, length + T, head_dim]`` of the past and of T new tokens."""
        ...


@dataclass
class Plan:
    """What the attention function is to do in one forward pass.

    Attributes:
        segments: who sees whom.
        last: the last layer that is wanted: there the forward pass ends.
        reads: which attention is wanted; none while keys and values are computed for later.
        sink: takes it.
        layers: of which layers; all up to ``last`` for None.
        past: what was computed before.
        keep: takes keys and values.
        seen: the layers that were called so far.
    """

    segments: Segments
    last: int
    reads: Sequence[Read] = ()
    sink: Sink | None = None
    layers: frozenset[int] | None = None
    past: Past | None = None
    keep: Keep | None = None
    seen: list[int] = field(default_factory=list)
    prepared: Any = None
    """What the kernels worked out for these segments, once for all layers."""
    turn: Any = None
    """The positions' angles, as the layers take them, once for all layers."""


@dataclass(frozen=True)
class Form:
    """How a layer makes scores of products.

    Attributes:
        scaling: multiplies them.
        softcap: then p becomes softcap tanh(p / softcap), unless None.
        window: a token sees no token whose position is that far before its own, or farther, unless None.
    """

    scaling: float
    softcap: float | None
    window: int | None
