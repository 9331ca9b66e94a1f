"""Tests of attention on CUDA: every kernel against dense masks in double precision.

The keys are made so that a mask that is off by one token changes the output: of some heads the products grow from token to token,
of some they fall, of some they are great at the last tokens of stretches, and of some at the tokens right behind those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from irkit.models.lm import flash, kernels
from irkit.models.lm.plan import Form, Plan
from irkit.models.lm.segments import Read, Segments

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

OUTPUT = {torch.float32: 1e-3, torch.float16: 6e-3, torch.bfloat16: 4e-2}
"""How far an output may be from the right one; values are of the standard normal distribution."""
DIM = 64
FORM = Form(0.125, None, None)


@dataclass(frozen=True)
class Case:
    """Segments as (tokens, what they see), what is read of them, and which kernels compute them in half precision."""

    parts: Sequence[tuple[int, tuple[int, int]]]
    by: set[str]
    past: int = 0
    reads: Sequence[Read] = ()
    form: Form = FORM

    def segments(self) -> Segments:
        parts, own = [], self.past
        for size, seen in self.parts:
            # positions go on from what is seen, as in a prompt
            parts.append((np.zeros(size, np.int64), seen[1] - seen[0], seen))
            own += size
        return Segments.of(parts, past=self.past)


def tree(instruction: int, documents: Sequence[int], query: int, past: bool = False) -> list[Any]:
    total = instruction + sum(documents)
    parts = [(size, (0, instruction)) for size in documents]
    return [*([] if past else [(instruction, (0, 0))]), *parts, (query, (0, total))]


CASES = {
    "one long prompt": Case([(1500, (0, 0))], {"alone"}),
    "one of 1024 tokens": Case([(1024, (0, 0))], {"alone"}),
    "one of 1023 tokens": Case([(1023, (0, 0))], {"gathered"}),
    "one token": Case([(1, (0, 0))], {"gathered"}),
    "a long prompt between short ones": Case(
        [(40, (0, 0)), (1100, (0, 0)), (30, (40, 1140))], {"alone", "gathered", "split"}
    ),
    "a query behind 1500": Case([(66, (0, 1500))], {"split"}, past=1500),
    "one token behind 1024": Case([(1, (0, 1024))], {"split"}, past=1024),
    "a query behind 1023": Case([(66, (0, 1023))], {"gathered"}, past=1023),
    "256 rows behind 1024": Case([(256, (0, 1024))], {"split"}, past=1024),
    "257 rows behind 1024": Case([(257, (0, 1024))], {"gathered"}, past=1024),
    "a query that sees the middle": Case([(66, (300, 1700))], {"split"}, past=2000),
    "a query that sees little of the middle": Case([(66, (300, 700))], {"gathered"}, past=2000),
    "two queries": Case([(33, (0, 1100)), (66, (1100, 2300))], {"split"}, past=2300),
    "two queries, one over little": Case(
        [(33, (0, 900)), (66, (900, 2300))], {"split", "gathered"}, past=2300
    ),
    "three queries": Case([(33, (0, 1100)), (66, (1100, 2300)), (9, (0, 2300))], {"gathered"}, past=2300),
    "documents and a query": Case(tree(50, [30, 1, 300, 80], 66), {"gathered"}),
    "many documents and a query": Case(tree(50, [37, 200] * 6, 66), {"gathered", "split"}),
    "documents behind an instruction": Case(tree(50, [37, 1, 200], 66, past=True), {"gathered"}, past=50),
    "a short read": Case(
        tree(50, [37, 200], 66),
        {"gathered", "rows"},
        reads=[Read((350, 353), (50, 287)), Read((349, 351), (50, 287), "documents")],
    ),
    "a read of all there is": Case(
        [(66, (0, 1500))], {"rows"}, past=1500, reads=[Read((1560, 1562), (20, 1500), "documents")]
    ),
    "reads of two queries": Case(
        [(33, (0, 1100)), (66, (1100, 2300))],
        {"rows"},
        past=2300,
        reads=[Read((2310, 2333), (7, 1100)), Read((2390, 2399), (1150, 2300), "documents")],
    ),
    "a read of a long segment": Case(
        [(500, (0, 0)), (300, (0, 500))], {"gathered", "rows"}, reads=[Read((760, 800), (30, 470))]
    ),
    "a window": Case(
        tree(50, [37, 200], 66), {"rows"}, reads=[Read((350, 353), (50, 287))], form=Form(0.125, None, 16)
    ),
    "a window that hides nothing": Case(
        tree(50, [37, 200], 66), {"gathered", "rows"}, reads=[Read((350, 353), (50, 287))], form=Form(0.125, None, 353)
    ),
    "capped": Case(
        tree(50, [37, 200], 66), {"rows"}, reads=[Read((350, 353), (50, 287))], form=Form(0.125, 5.0, None)
    ),
    "capped, behind 1500": Case([(66, (0, 1500))], {"rows"}, past=1500, form=Form(0.125, 5.0, None)),
}  # fmt: skip


def made(case: Case, heads: int, key_heads: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return queries, keys and values; a product's first coordinates say which tokens are looked at, the others are random."""
    segments, rng = case.segments(), torch.Generator("cuda").manual_seed(0)
    size = len(segments.ids)
    total = case.past + size

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=rng, device="cuda")

    queries, keys, values = normal(heads, size, DIM), normal(key_heads, total, DIM), normal(key_heads, total, DIM)  # fmt: skip
    queries[..., 0:2], queries[..., 2:8] = 8, 0  # scaled, 1
    places = torch.arange(total, device="cuda")
    last = sorted({int(each) - 1 for each in [*segments.bounds, *segments.context[:, 1]]} - {-1})
    first = sorted({int(each) for each in [*segments.bounds, *segments.context.ravel()]} - {total})
    for head in range(key_heads):
        kind = head % 4 if key_heads > 1 else 2
        keys[head, :, 0:2] = 0
        if kind < 2:  # exact in half precision: products differ by 1/2 from token to token
            sign = 1 - 2 * kind
            keys[head, :, 0], keys[head, :, 1] = sign * (places // 64) * 32, sign * (places % 64) / 2
        else:
            keys[head, last if kind == 2 else first, 0] = 7
    return queries.to(dtype), keys.to(dtype), values.to(dtype)


def reference(case: Case, queries: Any, keys: Any, values: Any) -> tuple[Any, list[Any]]:
    """Return outputs and reads in double precision, from whole matrices, by the definition of who sees whom."""
    segments, past, (_, softcap, window) = case.segments(), case.past, vars(case.form).values()
    total, times = keys.shape[1], len(queries) // len(keys)
    seen = torch.zeros(total, total, dtype=torch.bool, device="cuda")
    for which in range(len(segments)):
        start, stop = segments.own(which)
        seen[start:stop, slice(*segments.seen(which))] = True
        seen[start:stop, start:stop] = torch.ones(stop - start, stop - start, device="cuda").tril().bool()
    if window is not None:
        places = torch.from_numpy(segments.positions).cuda()
        seen &= places[:, None] - places[None, :] < window
    keys, values = (part.double().repeat_interleave(times, 0) for part in (keys, values))
    scores = queries.double() @ keys.transpose(1, 2) * case.form.scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen[past:], -torch.inf)
    reads = []
    for read in case.reads:
        rows = scores[:, read.rows[0] - past : read.rows[1] - past]
        if read.over == "documents":
            rows = rows[..., slice(*read.documents)].softmax(-1)
        else:
            rows = rows.softmax(-1)[..., slice(*read.documents)]
        reads.append(rows.mean(1))
    return scores.softmax(-1) @ values, reads


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Which kernels were taken."""
    found: set[str] = set()

    def spy(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            found.add(label)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, call)

    spy(kernels, "_alone", "alone")
    spy(kernels, "attend_rows", "rows")
    spy(flash, "split", "split")
    spy(flash.Gathered, "fill", "gathered")
    yield found


def check(case: Case, heads: tuple[int, int], dtype: Any) -> None:
    queries, keys, values = made(case, *heads, dtype)
    expected, rows = reference(case, queries, keys, values)
    dirty = torch.full((1 << 23,), torch.nan, device="cuda")  # so that what is not written shows
    del dirty
    plan = Plan(case.segments(), 1, case.reads)
    weights, output = kernels.outputs(plan, case.reads, queries, keys, values, case.form)
    assert output is not None and output.dtype == dtype
    error = (output.double() - expected).abs().max().item()
    assert error < OUTPUT[dtype], error
    assert len(weights) == len(rows)
    for found, row in zip(weights, rows, strict=True):
        torch.testing.assert_close(found.double(), row, rtol=2e-3, atol=1e-6)
    only, nothing = kernels.outputs(Plan(case.segments(), 1, case.reads), case.reads, queries, keys, None, case.form)  # fmt: skip
    assert nothing is None
    torch.testing.assert_close(only, weights, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("heads", [(4, 4), (16, 4), (6, 1)])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_reads(name: str, heads: tuple[int, int], dtype: Any, taken: set[str]) -> None:
    check(CASES[name], heads, dtype)
    whole = CASES[name].by
    assert taken == (whole if dtype != torch.float32 else {each if each == "rows" else "alone" for each in whole})  # fmt: skip


@pytest.fixture
def fresh() -> Iterator[None]:
    flash.is_there.cache_clear()
    yield
    flash.is_there.cache_clear()


def missing(*_: Any) -> Any:
    raise AttributeError("'_OpNamespace' 'aten' object has no attribute '_flash_attention_forward'")


def refusing(*_: Any) -> Any:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")


def misaligned(rows: Any, keys: Any, values: Any, *_: Any) -> Any:
    return rows * 0 + values.mean()


@pytest.mark.parametrize("broken", [missing, refusing, misaligned])
@pytest.mark.parametrize("name", CASES)
def test_without_flash_attention(
    name: str, broken: Any, monkeypatch: pytest.MonkeyPatch, taken: set[str], fresh: None
) -> None:
    calls = []
    monkeypatch.setattr(flash, "_flash", lambda *args: calls.append(1) or broken(*args))
    check(CASES[name], (16, 4), torch.bfloat16)
    assert taken <= {"alone", "rows"}
    before = len(calls)
    check(CASES[name], (16, 4), torch.bfloat16)
    assert len(calls) == before <= 2  # tried once


def test_short_memory_is_no_refusal(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(flash, "_flash", full)
        with pytest.raises(torch.OutOfMemoryError):
            flash.is_there("cuda", torch.bfloat16, 64)
    assert flash.is_there("cuda", torch.bfloat16, 64) and not flash.is_there("cuda", torch.float32, 64)
