"""Flash attention as torch has it, called directly: of variable length, and with the keys split over the device.

torch offers neither to the public, and its operator is private: :func:`is_there` tries it once for a device, a precision and a head
dimension. Where it is missing, has other arguments than those of today, or refuses (an older device, large heads), segments go to
``scaled_dot_product_attention`` one by one; that takes longer and gives the same numbers, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from irkit.models.device import is_out_of_memory
from irkit.models.lm.rows import stretch
from irkit.models.lm.segments import Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any


@cache
def is_there(device: Any, dtype: Any, head_dim: int) -> bool:
    """Whether torch's flash attention computes on a device, for a precision and a head dimension; tried once in a process.

    Tried are 2 rows over 3 keys, in both ways it is called here. With equal products a row's output is the mean of the values that
    it sees, and the first row must see all but the last.
    """
    import torch

    if torch.device(device).type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    asked = torch.zeros(2, 1, head_dim, dtype=dtype, device=device)
    values = torch.tensor([0.0, 2.0, 4.0], dtype=dtype, device=device)[:, None, None].expand(3, 1, head_dim)
    values, keys = values.contiguous(), torch.zeros(3, 1, head_dim, dtype=dtype, device=device)
    bounds = [torch.tensor([0, size], dtype=torch.int32, device=device) for size in (2, 3)]

    def right() -> bool:
        found = [
            _flash(asked, keys, values, bounds[0], bounds[1], 2, 3, 1.0),
            _flash(asked[None], keys[None], values[None], None, None, 2, 3, 1.0)[0],
        ]
        return all(torch.equal(each[:, 0, 0].float().cpu(), torch.tensor([1.0, 2.0])) for each in found)

    return holds(right)


def holds(trial: Callable[[], bool]) -> bool:
    """Return what a trial of a private operator finds; False where the operator is missing, has other arguments, or refuses.

    Raises:
        RuntimeError: when a device ran out of memory, which says nothing of the operator.
    """
    try:
        return trial()
    except (AttributeError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return False


def _flash(
    rows: Tensor,
    keys: Tensor,
    values: Tensor,
    row_bounds: Tensor | None,
    seen_bounds: Tensor | None,
    rows_most: int,
    seen_most: int,
    scaling: float,
) -> Tensor:
    """Call torch's operator, causal, the last row aligned to the last key."""
    import torch

    found: Tensor = torch.ops.aten._flash_attention_forward.default(
        rows, keys, values, row_bounds, seen_bounds, rows_most, seen_most, 0.0, True, False, scale=scaling
    )[0]
    return found


def split(
    segments: Segments, which: int, rows: Tensor, keys: Tensor, values: Tensor, scaling: float
) -> Tensor:
    """Return the output of one segment of few rows, ``[heads, rows, head_dim]``.

    Of the flash kernels, the one for batches of one length splits the keys; that of variable length does not.
    """
    own, context = segments.own(which), segments.seen(which)
    seen, worth = (stretch(part, context, own).transpose(0, 1)[None] for part in (keys, values))
    asked = rows.transpose(0, 1)[None]
    return _flash(asked, seen, worth, None, None, asked.shape[1], seen.shape[1], scaling)[0].transpose(0, 1)


@dataclass(frozen=True, eq=False)
class Gathered:
    """Some segments' tokens and what they see, one segment behind the other, for variable-length flash attention.

    Attributes:
        which: the segments.
        rows: the numbers of their own tokens among the T: ``int64``, or a slice where they adjoin.
        seen: the numbers of the tokens that they see, segment by segment, likewise.
        row_bounds: ``int32[S + 1]``, where each segment's rows begin and end.
        seen_bounds: ``int32[S + 1]``, where what it sees begins and ends.
        most: the greatest number of rows of a segment, and of tokens that one sees.
    """

    which: list[int]
    rows: Tensor | slice
    seen: Tensor | slice
    row_bounds: Tensor
    seen_bounds: Tensor
    most: tuple[int, int]

    @classmethod
    def of(cls, segments: Segments, which: list[int], device: Any) -> Gathered:
        """Work it out for some segments, once for all layers."""
        import torch

        rows, seen = [], []
        for number in which:
            own = np.arange(*segments.own(number))
            rows.append(own - segments.past)
            seen.append(np.concatenate([np.arange(*segments.seen(number)), own]))

        def there(numbers: Any, kind: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(numbers)).to(device=device, dtype=kind)

        def bounds(parts: list[Any]) -> Tensor:
            return there(np.concatenate([[0], np.cumsum([len(part) for part in parts])]), torch.int32)

        def places(parts: list[Any]) -> Tensor | slice:
            joined = np.concatenate(parts)
            first, last = int(joined[0]), int(joined[-1]) + 1
            adjoin = len(joined) == last - first and np.array_equal(joined, np.arange(first, last))
            return slice(first, last) if adjoin else there(joined, torch.int64)

        most = (max(map(len, rows)), max(map(len, seen)))
        return cls(which, places(rows), places(seen), bounds(rows), bounds(seen), most)

    def fill(self, output: Tensor, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> None:
        """Write the output of these segments into ``[heads, T, head_dim]``."""
        rows, seen, worth = (
            part.transpose(0, 1)[where]
            for part, where in ((queries, self.rows), (keys, self.seen), (values, self.seen))
        )
        output.transpose(0, 1)[self.rows] = _flash(
            rows, seen, worth, self.row_bounds, self.seen_bounds, *self.most, scaling
        )
