"""The attention of a layer over packed segments, by the fused kernels there are.

On CUDA a long segment that sees nothing before it goes to ``scaled_dot_product_attention``. A few rows that see a great deal have a
flash attention to themselves, which splits the keys over the device. All others share one of variable length: each segment has as
keys the stretch that it sees and its own, gathered into one tensor, for which a causal mask that is aligned to the last key is just
right. Elsewhere, and where torch has no flash attention to call, it goes segment by segment. Capped scores, and windows shorter
than what is seen, take plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from irkit.models.lm import flash
from irkit.models.lm.plan import Form, Plan
from irkit.models.lm.rows import attend_rows, hidden, stretch
from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_LONG = 1024
"""Tokens from which a segment has a kernel to itself."""
_FEW = 256
"""Rows up to which what is read and the output come from the same shares."""
_SPLIT = 2
"""Segments up to which those of few rows, of which each alone would keep few cores busy, are not taken together."""
_PLAIN_ROWS = 512
"""Rows of plain arithmetic at a time."""


def outputs(
    plan: Plan, reads: Sequence[Read], queries: Tensor, keys: Tensor, values: Tensor | None, form: Form
) -> tuple[list[Tensor], Tensor | None]:
    """Return the attention that is read, and the output of every token.

    Args:
        plan: says who sees whom; keeps what depends on that alone from layer to layer.
        reads: which attention is wanted of this layer.
        queries: ``[heads, T, head_dim]``.
        keys: ``[key heads, P + T, head_dim]``.
        values: ``[key heads, P + T, head_dim]``; None where no output is wanted.
        form: of the scores.

    Returns:
        for every read ``float32[heads, documents' tokens]``; and ``[heads, T, head_dim]``, or None.
    """
    import torch

    segments = plan.segments
    weights: dict[int, Tensor] = {}
    if values is not None and not reads and len(segments) == 1:
        return [], _only(plan, queries, keys, values, form)
    # tokens first, heads second in memory, as the model reads it next
    output = None if values is None else torch.empty_like(queries.transpose(0, 1)).transpose(0, 1)
    done = set()
    for which, numbers in _by_segment(segments, reads).items():
        some = [reads[number] for number in numbers]
        rows = (min(read.rows[0] for read in some), max(read.rows[1] for read in some))
        whole = segments.own(which)
        # rows that are read have their output from the same shares, unless the segment has many more
        both = values is not None and whole[1] - whole[0] <= _FEW
        looked, mixed = attend_rows(
            segments, which, whole if both else rows, some, queries, keys, values if both else None, form
        )
        for number, each in zip(numbers, looked, strict=True):
            weights[number] = each
        if mixed is not None and output is not None:
            output[:, whole[0] - segments.past : whole[1] - segments.past] = mixed
            done.add(which)
    if output is not None and values is not None:
        rest = [which for which in range(len(segments)) if which not in done]
        _fill(output, plan, rest, queries, keys, values, form)
    return [weights[number] for number in range(len(reads))], output


def _only(plan: Plan, queries: Tensor, keys: Tensor, values: Tensor, form: Form) -> Tensor:
    """Return the output of the only segment there is, without a copy where a kernel gives it in one piece."""
    import torch

    segments = plan.segments
    much = form.softcap is None and _sees_much(segments, 0) and not _reaches(segments, form.window)
    if much and _has_flash(queries):
        return flash.split(segments, 0, queries, keys, values, form.scaling)
    output = torch.empty_like(queries.transpose(0, 1)).transpose(0, 1)
    _fill(output, plan, [0], queries, keys, values, form)
    return output


def _by_segment(segments: Segments, reads: Sequence[Read]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, read in enumerate(reads):
        found.setdefault(segments.holding(read.rows[0]), []).append(number)
    return found


def _fill(
    output: Tensor, plan: Plan, which: list[int], queries: Tensor, keys: Tensor, values: Tensor, form: Form
) -> None:
    """Write the output of some segments."""
    segments = plan.segments
    plainly = form.softcap is not None or _reaches(segments, form.window)
    if plainly:
        for number in which:
            start, stop = segments.own(number)
            for row in range(start, stop, _PLAIN_ROWS):
                rows = (row, min(row + _PLAIN_ROWS, stop))
                mixed = attend_rows(segments, number, rows, (), queries, keys, values, form)[1]
                output[:, rows[0] - segments.past : rows[1] - segments.past] = mixed
        return
    fused = _has_flash(queries)
    together = [number for number in which if fused and not _is_long(segments, number)]
    split = {number for number in together if _sees_much(segments, number)}
    if len(split) > _SPLIT:
        split = set()
    together = [number for number in together if number not in split]
    for number in which:
        if number in split or number not in together:
            start, stop = segments.own(number)
            here = slice(start - segments.past, stop - segments.past)
            attend = flash.split if number in split else _alone
            output[:, here] = attend(segments, number, queries[:, here], keys, values, form.scaling)
    if together:
        if plan.prepared is None or plan.prepared.which != together:
            plan.prepared = flash.Gathered.of(segments, together, queries.device)
        plan.prepared.fill(output, queries, keys, values, form.scaling)


def _has_flash(queries: Tensor) -> bool:
    return flash.is_there(queries.device, queries.dtype, queries.shape[-1])


def _is_long(segments: Segments, which: int) -> bool:
    (start, stop), (first, last) = segments.own(which), segments.seen(which)
    return first == last and stop - start >= _LONG


def _sees_much(segments: Segments, which: int) -> bool:
    (start, stop), (first, last) = segments.own(which), segments.seen(which)
    return stop - start <= _FEW and last - first >= _LONG


def _reaches(segments: Segments, window: int | None) -> bool:
    """Whether a sliding window hides anything: whether two tokens of which one sees the other are that far apart."""
    if window is None:
        return False
    places = segments.positions
    for (first, last), start, stop in zip(
        segments.context - segments.past,
        segments.bounds[:-1] - segments.past,
        segments.bounds[1:] - segments.past,
        strict=True,
    ):
        seen = np.concatenate([places[max(first, 0) : max(last, 0)], places[start:stop]])
        if places[start:stop].max() - seen.min() >= window:
            return True
    return False


def _alone(
    segments: Segments, which: int, rows: Tensor, keys: Tensor, values: Tensor, scaling: float
) -> Tensor:
    """Return the output of one segment."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    (start, stop), (first, last) = segments.own(which), segments.seen(which)
    seen, worth = (stretch(part, (first, last), (start, stop))[None] for part in (keys, values))
    if rows.is_cuda and first == last:
        best = [
            SDPBackend.CUDNN_ATTENTION,
            SDPBackend.FLASH_ATTENTION,
            SDPBackend.EFFICIENT_ATTENTION,
            SDPBackend.MATH,
        ]
        with sdpa_kernel(best, set_priority=True):
            out = scaled_dot_product_attention(
                rows[None], seen, worth, is_causal=True, scale=scaling, enable_gqa=len(rows) != len(keys)
            )
        return out[0]
    times = len(rows) // len(keys)
    seen, worth = (part.repeat_interleave(times, dim=1) for part in (seen, worth))
    mask = None
    if first < last:
        mask = rows.new_ones(stop - start, last - first + stop - start, dtype=torch.bool)
        mask[:, last - first :] = ~hidden(segments, which, (start, stop), None, rows.device)
    found = scaled_dot_product_attention(
        rows[None], seen, worth, attn_mask=mask, is_causal=mask is None, scale=scaling
    )
    return found[0]
