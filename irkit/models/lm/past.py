"""Keys and values that are there before a forward pass, as :class:`irkit.models.lm.attention.Past` wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.device import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

    from irkit.models.lm.model import CausalLM
else:
    Tensor: TypeAlias = Any

Ints = NDArray[np.int64]


class Rows:
    """Keys and values of numbered tokens on the device.

    Attributes:
        values: ``[layers, 2, tokens, key heads, head_dim]``.
        layers: of each layer the keys and, behind them, the values: ``[2 tokens, key heads, head_dim]``, in the same memory.
    """

    def __init__(self, model: CausalLM, layers: int, tokens: int) -> None:
        """Take the memory.

        Raises:
            ModelError: when the device has too little.
        """
        import torch

        shape = (layers, 2, tokens, model.key_heads, model.head_dim)
        self.device = model.device
        try:
            self.values = torch.empty(shape, dtype=model.model.dtype, device=model.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size = tokens * token_bytes(model, layers) / 1e9
            raise ModelError.of(
                f"the device has too little memory for the keys and values of {tokens} tokens, {size:.1f} GB",
                where=model.name,
                hint="take a smaller cache_gb, fewer or shorter documents (depth, words), or another device",
            ) from error
        self.layers = [each.flatten(0, 1) for each in self.values]

    def numbers(self, rows: Ints) -> Tensor:
        """Return the numbers of tokens as a tensor there."""
        import torch

        return torch.from_numpy(rows).to(self.device)

    def writer(self, rows: Ints) -> Callable[[int, Tensor, Tensor], None]:
        """Return what takes the keys and values ``[key heads, n, head_dim]`` of a layer of the n tokens with these numbers."""
        at = self.numbers(rows)

        def keep(layer: int, key: Tensor, value: Tensor) -> None:
            self.values[layer, 0].index_copy_(0, at, key.transpose(0, 1))
            self.values[layer, 1].index_copy_(0, at, value.transpose(0, 1))

        return keep


class Whole:
    """A past whose rows lie in order, with room for the tokens behind it: joined without a copy of the past."""

    def __init__(self, rows: Rows, length: int) -> None:
        self._rows, self.length = rows, length

    def join(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of the past and of the tokens behind it."""
        keys, values = self._rows.values[layer].transpose(1, 2)
        keys[:, self.length :] = key
        values[:, self.length :] = value
        return keys, values


class Picked:
    """A past of rows that lie anywhere, gathered layer by layer into one buffer that all layers share."""

    def __init__(self, rows: Rows, which: Ints, behind: int, buffer: Tensor) -> None:
        """Pick rows.

        Args:
            rows: to pick from.
            which: ``int64[P]``, their numbers.
            behind: how many tokens will be joined.
            buffer: ``[2 (P + behind) or more, key heads, head_dim]``.
        """
        self._rows, self.length = rows, len(which)
        room = np.concatenate([which, np.zeros(behind, np.int64)])
        # keys and values at once, with any rows in place of the tokens that come
        self._which = rows.numbers(np.concatenate([room, room + rows.values.shape[2]]))
        self._flat = buffer[: 2 * len(room)]
        there = self._flat.unflatten(0, (2, len(room)))
        self._keys, self._values = there.transpose(1, 2)
        self._key, self._value = there[:, self.length :].transpose(1, 2)

    def join(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of the past and of the tokens behind it, valid until the next layer's."""
        import torch

        torch.index_select(self._rows.layers[layer], 0, self._which, out=self._flat)
        self._key.copy_(key)
        self._value.copy_(value)
        return self._keys, self._values


def token_bytes(model: CausalLM, layers: int) -> int:
    """Return the bytes of the keys and values of one token in so many layers."""
    return layers * 2 * model.key_heads * model.head_dim * int(model.model.dtype.itemsize)
