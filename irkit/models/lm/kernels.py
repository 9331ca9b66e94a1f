"""The attention output of packed segments, by the library's fused kernels.

On CUDA one variable-length flash attention computes all segments: each has as keys the stretch that it sees and its own, gathered into one
tensor, and a causal mask aligned to the last key is just what a segment wants. Elsewhere, segment by segment, by
``scaled_dot_product_attention``. Capped scores and windows shorter than what is seen take plain arithmetic, a
stretch of rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from irkit.models.lm.attention import Form, Plan, hidden
from irkit.models.lm.segments import Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_PLAIN_BYTES = 1 << 28
"""Bytes of scores that plain arithmetic holds at a time."""


def outputs(plan: Plan, queries: Tensor, keys: Tensor, values: Tensor, form: Form) -> Tensor:
    """Return the attention output ``[heads, T, head_dim]`` of every token.

    Args:
        plan: says who sees whom; keeps what only depends on that from layer to layer.
        queries: ``[heads, T, head_dim]``.
        keys: ``[key heads, P + T, head_dim]``.
        values: ``[key heads, P + T, head_dim]``.
        form: of the scores.
    """
    segments = plan.segments
    if form.softcap is not None or _reaches(segments, form.window):
        return _plainly(segments, queries, keys, values, form)
    if queries.device.type == "cuda" and queries.dtype != _float32():
        if plan.kernels is None:
            plan.kernels = Gathered.of(segments, queries.device)
        return plan.kernels.attend(queries, keys, values, form.scaling)
    return _one_by_one(segments, queries, keys, values, form.scaling)


def _float32() -> Any:
    import torch

    return torch.float32


def _reaches(segments: Segments, window: int | None) -> bool:
    """Whether a sliding window hides anything: whether two tokens of which one sees the other are that far apart."""
    if window is None:
        return False
    for which in range(len(segments)):
        here = segments.positions[
            segments.bounds[which] - segments.past : segments.bounds[which + 1] - segments.past
        ]
        first, last = segments.context[which] - segments.past
        seen, worth = (int(here.min())] + (
            [int(segments.positions[max(first, 0) : last].min())] if last > max(first, 0) else []
        )
        if here.max() - min(seen) >= window:
            return True
    return False


def _one_by_one(segments: Segments, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    out = torch.empty_like(queries)
    times = len(queries) // len(keys)
    for which in range(len(segments)):
        start, stop = (int(at) for at in segments.bounds[which : which + 2])
        first, last = (int(at) for at in segments.context[which])
        here = slice(start - segments.past, stop - segments.past)
        rows = queries[None, :, here]
        seen, worth = (
            _seen(part, first, last, start, stop).repeat_interleave(times, dim=0)[None]
            for part in (keys, values)
        )
        if first == last:
            out[:, here] = scaled_dot_product_attention(rows, seen, worth, is_causal=True, scale=scaling)[0]
        else:
            mask = ~hidden(segments, which, (start, stop), None, queries.device)
            out[:, here] = scaled_dot_product_attention(rows, seen, worth, attn_mask=mask, scale=scaling)[0]
    return out


def _seen(part: Tensor, first: int, last: int, start: int, stop: int) -> Tensor:
    import torch

    if first == last:
        return part[:, start:stop]
    if last == start:
        return part[:, first:stop]
    return torch.cat([part[:, first:last], part[:, start:stop]], dim=1)


def _plainly(segments: Segments, queries: Tensor, keys: Tensor, values: Tensor, form: Form) -> Tensor:
    import torch

    out = torch.empty_like(queries)
    groups = len(keys)
    for which in range(len(segments)):
        start, stop = (int(at) for at in segments.bounds[which : which + 2])
        first, last = (int(at) for at in segments.context[which])
        each = max(1, _PLAIN_BYTES // (4 * len(queries) * (last - first + stop - start)))
        for row in range(start, stop, each):
            end = min(row + each, stop)
            seen, worth = (_seen(part, first, last, start, end) for part in (keys, values))
            rows = queries[:, row - segments.past : end - segments.past].unflatten(0, (groups, -1))
            scores = form.scores(rows, seen[:, None])
            scores.masked_fill_(hidden(segments, which, (row, end), form.window, queries.device), -torch.inf)
            shares = torch.softmax(scores, dim=-1)
            out[:, row - segments.past : end - segments.past] = (
                torch.matmul(shares, worth[:, None].float()).to(out.dtype).flatten(0, 1)
            )
    return out


@dataclass(frozen=True, eq=False)
class Gathered:
    """Which keys the segments see, one segment behind the other, for variable-length flash attention.

    Attributes:
        rows: ``int32[S + 1]``, bounds of the segments' own tokens.
        bounds: ``int32[S + 1]``, bounds of what each segment sees in ``index``.
        index: ``int64``, the numbers of those tokens; None where segments see themselves alone.
        most: the greatest number of tokens of a segment, and of tokens that one sees.
    """

    rows: Tensor
    bounds: Tensor
    index: Tensor | None
    most: tuple[int, int]

    @classmethod
    def of(cls, segments: Segments, device: Any) -> Gathered:
        """Work it out for some segments, once for all layers."""
        import torch

        own = np.diff(segments.bounds)
        width = segments.context[:, 1] - segments.context[:, 0]
        parts = [
            np.concatenate([np.arange(first, last), np.arange(start, stop)])
            for (first, last), start, stop in zip(
                segments.context, segments.bounds[:-1], segments.bounds[1:], strict=True
            )
        ]
        alone = segments.past == 0 and not width.any()
        bounds = np.concatenate([[0], np.cumsum(own + width)])

        def there(numbers: Any, kind: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(numbers)).to(device=device, dtype=kind)

        return cls(
            there(segments.bounds - segments.past, torch.int32),
            there(bounds, torch.int32),
            None if alone else there(np.concatenate(parts), torch.int64),
            (int(own.max()), int((own + width).max())),
        )

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Return the output ``[heads, T, head_dim]``."""
        import torch

        rows = queries.transpose(0, 1).contiguous()
        seen, worth = (part.transpose(0, 1) for part in (keys, values))
        if self.index is not None:
            seen, worth = seen.index_select(0, self.index), worth.index_select(0, self.index)
        out = torch.ops.aten._flash_attention_forward(
            rows,
            seen.contiguous(),
            worth.contiguous(),
            self.rows,
            self.bounds,
            *self.most,
            0.0,
            True,
            False,
            scale=scaling,
        )[0]
        result: Tensor = out.transpose(0, 1)
        return result
