"""Attention over packed lists whose gradients are gathers and sums: the same in every run, and without sorting indices.

On CUDA in half precision one flash attention of variable length computes all segments, over keys and values that are gathered for
them; a token's gradient is the sum over the places that it was gathered to. Elsewhere products are padded to segments of like size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.models.device import has_triton
from irkit.models.lm import flash
from irkit.models.lm.learning.lesson import Lesson

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any


def mixed(
    lesson: Lesson, joined: Tensor, heads: int, scale: float, angles: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Return the output of every token, ``[T, heads, dim]``.

    Args:
        lesson: who sees whom.
        joined: ``[T, heads + 2 key heads, dim]``, queries, keys and values, contiguous.
        heads: of queries.
        scale: of the products.
        angles: cosines and sines ``[T, dim]`` that queries and keys are turned by; None where they are turned already.
    """
    count, dim = joined.shape[1:]
    if learns(joined.device, joined.dtype, dim):
        cos, sin = angles or (None, None)
        found: Tensor = _flashing().apply(joined, cos, sin, lesson, heads, scale)
        return found
    key_heads = (count - heads) // 2
    both, values = joined.split((heads + key_heads, key_heads), 1)
    if angles:
        both = turned(both, *angles)
    return padded(lesson, both[:, :heads], both[:, heads:], values, scale)


def turned(part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return ``[T, heads, dim]``, turned by ``[T, dim]`` (Su et al., 2021, arXiv 2104.09864, eq. 34, with GPT-NeoX's pairs)."""
    import torch

    one, other = part.chunk(2, 2)
    return part * cos[:, None] + torch.cat([-other, one], 2) * sin[:, None]


def padded(lesson: Lesson, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Return the output of every token, ``[T, heads, dim]``, by products padded to segments of like size."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    output = torch.zeros_like(queries)
    times = queries.shape[1] // keys.shape[1]
    for part in lesson.parts:
        rows = queries[part.rows].transpose(1, 2)
        seen, worth = (
            each[part.seen].transpose(1, 2).repeat_interleave(times, dim=1) for each in (keys, values)
        )
        found = scaled_dot_product_attention(rows, seen, worth, attn_mask=part.mask[:, None], scale=scale)
        flat = (
            found.transpose(1, 2).flatten(0, 1).to(output.dtype)
        )  # autocast makes it narrower where norms are float32
        output = output.index_copy(0, part.rows.flatten()[part.own], flat[part.own])
    return output


def looked(lesson: Lesson, queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Return ``float32[B, K]`` (or double): softmax over a list's documents' tokens, of it the mean over rows and heads.

    Args:
        lesson: of B lists with up to r rows each, of D tokens of documents.
        queries: ``[B r, heads, dim]``, of these rows; any numbers where a list has fewer.
        keys: ``[D, key heads, dim]``.
        scale: of the products.
    """
    import torch

    groups = keys.shape[1]
    rows = lesson.looking.shape[1]
    asked = queries.unflatten(0, (-1, rows)).unflatten(2, (groups, -1))  # [B, r, groups, times, dim]
    asked = asked.permute(0, 2, 1, 3, 4).flatten(2, 3)  # [B, groups, r times, dim]
    seen = taken(keys, lesson.padded.flatten(), lesson.unpadded)
    seen = seen.unflatten(0, lesson.padded.shape).permute(0, 2, 3, 1)  # [B, groups, dim, K]
    kind = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        scores = torch.matmul(asked.to(kind), seen.to(kind)) * scale
        scores = scores.masked_fill((lesson.padded == len(keys))[:, None, None, :], -torch.inf)
        looks = torch.softmax(scores, dim=-1).unflatten(2, (rows, -1)).mean(dim=(1, 3))  # [B, r, K]
        real = (lesson.looking < len(lesson.ids)).to(kind)
        return torch.bmm((real / real.sum(1, keepdim=True))[:, None], looks)[:, 0]


def taken(x: Tensor, rows: Tensor, back: Tensor) -> Tensor:
    """Return ``x[rows]``; zeros for the row behind the last.

    Args:
        x: ``[N, ...]``.
        rows: ``int64[n]``, distinct but for N.
        back: ``int64[N]``, where each row of ``x`` stands in ``rows``; n where it does not.
    """
    found: Tensor = _taking().apply(x, rows, back)
    return found


@cache
def _taking() -> Any:
    import torch

    class Taken(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Tensor, rows: Tensor, back: Tensor) -> Tensor:
            ctx.save_for_backward(back)
            return _with_nothing(x)[rows]

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
            (back,) = ctx.saved_tensors
            return _with_nothing(grad)[back], None, None

    return Taken


def _with_nothing(x: Tensor) -> Tensor:
    import torch

    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


@cache
def _flashing() -> Any:
    import torch

    class Flashing(torch.autograd.Function):  # type: ignore[misc]
        """Turn, gather, attend; and back."""

        @staticmethod
        def forward(
            ctx: Any,
            joined: Tensor,
            cos: Tensor | None,
            sin: Tensor | None,
            lesson: Lesson,
            heads: int,
            scale: float,
        ) -> Tensor:
            key_heads = (joined.shape[1] - heads) // 2
            if cos is not None and sin is not None:
                joined = _turn(joined, cos, sin, heads + key_heads, False)
            gathered = joined[:, heads:][lesson.gathered]
            keys, values = gathered.split(key_heads, 1)
            found, *left = attend(joined[:, :heads], keys, values, lesson, scale)
            ctx.save_for_backward(joined, gathered, cos, sin, found, *left)
            ctx.lesson, ctx.heads, ctx.scale = lesson, heads, scale
            return found

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
            joined, gathered, cos, sin, found, *left = ctx.saved_tensors
            heads, key_heads = ctx.heads, gathered.shape[1] // 2
            keys, values = gathered.split(key_heads, 1)
            rows, seen, worth = attend_back(
                grad.contiguous(), joined[:, :heads], keys, values, found, left, ctx.lesson, ctx.scale
            )
            out = torch.empty_like(joined)
            out[:, :heads] = rows
            gathered_sum(seen.contiguous(), worth.contiguous(), ctx.lesson, out)
            if cos is not None:
                out = _turn(out, cos, sin, heads + key_heads, True)
            return out, None, None, None, None, None

    return Flashing


def _turn(joined: Tensor, cos: Tensor, sin: Tensor, heads: int, back: bool) -> Tensor:
    """Turn the first heads; back in place, where what is turned is nobody else's."""
    import torch

    if joined.is_cuda and has_triton():
        from irkit.models.lm.learning.triton import turn

        out = joined if back else torch.empty_like(joined)
        return turn(joined, cos.contiguous(), sin.contiguous(), heads, out, back)
    both = joined[:, :heads]
    if back:
        one, other = (both * sin[:, None]).chunk(2, 2)
        both = both * cos[:, None] + torch.cat([other, -one], 2)
    else:
        both = turned(both, cos, sin)
    return torch.cat([both, joined[:, heads:]], 1)


def gathered_sum(keys: Tensor, values: Tensor, lesson: Lesson, out: Tensor) -> None:
    """Write each token's sums over the places that it was gathered to, ``[G, key heads, dim]``, into the last heads of ``out``."""
    import torch

    if keys.is_cuda and has_triton():
        from irkit.models.lm.learning.triton import gather_sum

        gather_sum(keys, values, lesson.starts, lesson.places, out)
        return
    both = torch.cat([keys, values], 1)[lesson.places].to(torch.promote_types(keys.dtype, torch.float32))
    out[:, -2 * keys.shape[1] :] = torch.segment_reduce(both, "sum", offsets=lesson.starts.long()).to(
        out.dtype
    )


def attend(queries: Tensor, keys: Tensor, values: Tensor, lesson: Lesson, scale: float) -> tuple[Tensor, ...]:
    """Return the output of the segments' tokens over what they see, and what the way back needs: by torch's flash attention."""
    import torch

    found = torch.ops.aten._flash_attention_forward.default(
        queries, keys, values, lesson.bounds, lesson.seen_bounds, *lesson.most, 0.0, True, False, scale=scale
    )
    return tuple(found[:4])


def attend_back(
    grad: Tensor,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    found: Tensor,
    left: list[Tensor],
    lesson: Lesson,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values, added in one order."""
    import torch

    logarithms, *random = left
    with _strictly():
        back: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._flash_attention_backward.default(
            grad, queries, keys, values, found, logarithms, lesson.bounds, lesson.seen_bounds, *lesson.most, 0.0, True,
            *random, scale=scale,
        )  # fmt: skip
    return back


@contextmanager
def _strictly() -> Iterator[None]:
    """Ask for deterministic algorithms without ``warn_only``, with which flash attention would warn and not be."""
    import torch

    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch._C._set_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(before[0], warn_only=before[1])


@cache
def learns(device: Any, dtype: Any, dim: int) -> bool:
    """Whether torch's flash attention has a way back on a device, for a precision and a head dimension; tried once in a process.

    Tried are 2 rows of two heads over 3 keys of one: with equal products, a value's gradient is the sum of its shares.
    """
    import torch

    if not flash.is_there(device, dtype, dim):
        return False
    import numpy as np

    from irkit.models.lm.segments import Read, Segments

    lesson = Lesson.of(
        Segments.of([(np.zeros(1, np.int64), 0, (0, 0)), (np.zeros(2, np.int64), 1, (0, 1))]),
        [Read((2, 3), (0, 1), over="documents")],
    ).to(device)
    queries = torch.zeros(3, 2, dim, dtype=dtype, device=device)
    keys = torch.zeros(4, 1, dim, dtype=dtype, device=device)
    wanted = torch.tensor([2, 2 * (1 / 2 + 1 / 3), 2 * (1 / 2 + 1 / 3), 2 / 3])

    def right() -> bool:
        with torch.no_grad():
            found, *left = attend(queries, keys, keys, lesson, 1.0)
            back = attend_back(torch.ones_like(found), queries, keys, keys, found, left, lesson, 1.0)
        return bool(torch.allclose(back[2][:, 0, 0].float().cpu(), wanted, rtol=0.02))

    return flash.holds(right)
