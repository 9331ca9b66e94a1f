"""Attention of a few rows in plain arithmetic: what they look at, and their output.

Scores and softmax are float32, whatever the model's precision; keys are never repeated for the query heads that share them. Of the
scores only a bounded stretch is there at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.core.errors import ModelError
from irkit.models.lm.plan import Form
from irkit.models.lm.segments import Read, Segments

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

_BYTES = 1 << 28
"""Of scores that are held at a time."""


def attend_rows(
    segments: Segments,
    which: int,
    rows: tuple[int, int],
    reads: Sequence[Read],
    queries: Tensor,
    keys: Tensor,
    values: Tensor | None,
    form: Form,
) -> tuple[list[Tensor], Tensor | None]:
    """Compute the attention of some rows of one segment.

    Args:
        segments: who sees whom.
        which: the segment.
        rows: first and last + 1 of the tokens whose attention is computed.
        reads: which attention of these rows is wanted; their rows lie among ``rows``.
        queries: ``[heads, T, head_dim]``.
        keys: ``[key heads, P + T, head_dim]``.
        values: ``[key heads, P + T, head_dim]``; None where no output is wanted.
        form: of the scores.

    Returns:
        for every read ``float32[heads, documents' tokens]``, the mean over its rows of their softmax; and the output
        ``[heads, rows, head_dim]``.
    """
    import torch

    first, last = rows
    start, context = segments.own(which)[0], segments.seen(which)
    asked = queries[:, first - segments.past : last - segments.past].unflatten(0, (len(keys), -1))
    groups, times, count, dim = asked.shape
    seen = stretch(keys, context, (start, last))
    worth = None if values is None else stretch(values, context, (start, last))
    looked = [
        queries.new_empty(groups, times, read.documents[1] - read.documents[0], dtype=torch.float32)
        for read in reads
    ]
    output = None if worth is None else torch.empty_like(asked)
    each = max(1, _BYTES // (4 * times * count * seen.shape[1]))
    mask = hidden(segments, which, rows, form.window, queries.device)
    for group in range(0, groups, each):
        part = slice(group, group + each)
        scores = _products(asked[part].reshape(-1, times * count, dim), seen[part]).unflatten(
            1, (times, count)
        )
        scores.mul_(form.scaling)
        if form.softcap is not None:
            scores = torch.tanh(scores.div_(form.softcap)).mul_(form.softcap)
        at = seen.shape[1] - mask.shape[1]
        scores[..., at:].masked_fill_(mask, -torch.inf)
        shares = None
        if worth is not None or any(read.over == "visible" for read in reads):
            shares = torch.softmax(scores, dim=-1)
        for read, out in zip(reads, looked, strict=True):
            here = slice(read.rows[0] - first, read.rows[1] - first)
            there = slice(read.documents[0] - context[0], read.documents[1] - context[0])
            if read.over == "visible" and shares is not None:
                out[part] = shares[:, :, here, there].mean(dim=2)
            else:
                out[part] = torch.softmax(scores[:, :, here, there], dim=-1).mean(dim=2)
        if worth is not None and output is not None and shares is not None:
            mixed = torch.matmul(shares.to(worth.dtype).flatten(1, 2), worth[part])
            output[part] = mixed.unflatten(1, (times, count))
    return [out.flatten(0, 1) for out in looked], None if output is None else output.flatten(0, 1)


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the products of ``[n, r, dim]`` and ``[n, m, dim]`` in float32: of half precision, exact products are summed."""
    import torch

    if queries.dtype == torch.float32:
        return torch.bmm(queries, keys.transpose(1, 2))
    if queries.is_cuda:
        return torch.bmm(queries, keys.transpose(1, 2), out_dtype=torch.float32)
    return torch.bmm(queries.float(), keys.float().transpose(1, 2))


def stretch(part: Tensor, context: tuple[int, int], own: tuple[int, int]) -> Tensor:
    """Return two stretches of the tokens of ``[key heads, tokens, head_dim]``, without a copy where they adjoin."""
    import torch

    first, last = context
    if first == last:
        return part[:, own[0] : own[1]]
    if last == own[0]:
        return part[:, first : own[1]]
    return torch.cat([part[:, first:last], part[:, own[0] : own[1]]], dim=1)


def hidden(segments: Segments, which: int, rows: tuple[int, int], window: int | None, device: Any) -> Tensor:
    """Return which of the last tokens that some rows of a segment could see they do not see: ``bool[rows, tokens]``.

    The tokens are the segment's own, up to the last row; with a window those of its context stand before them.

    Raises:
        ModelError: for a window over keys that were computed earlier, whose positions nobody knows here.
    """
    import torch

    start = segments.own(which)[0]
    own = torch.arange(start, rows[1], device=device)
    mask = own[None, :] > torch.arange(rows[0], rows[1], device=device)[:, None]
    if window is None:
        return mask
    if segments.past:
        raise ModelError.of(
            "the model hides what is far before a token, which does not go with keys that are kept",
            hint="take a model without sliding windows, or do not keep documents",
        )
    places = torch.from_numpy(segments.positions).to(device)
    first, last = segments.seen(which)
    seen = torch.cat([places[first:last], places[start : rows[1]]])
    far = seen[None, :] <= places[rows[0] : rows[1], None] - window
    return torch.cat([far[:, : last - first], far[:, last - first :] | mask], dim=1)
