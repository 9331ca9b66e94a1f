"""Counts of floating-point operations against formulas."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from irkit.models.encoder import Encoder
from irkit.models.flops import _packed_attention, counted, counting
from irkit.models.resolve import resolve

torch = pytest.importorskip("torch")


def work(count: int) -> None:
    a = torch.ones(8, 4)
    for _ in range(count):
        _ = a @ a.T


def test_products_are_counted_in_this_thread_and_in_those_it_says() -> None:
    with counting() as flops:
        work(3)
        for task in (counted(lambda: work(2)), lambda: work(50)):
            thread = Thread(target=task)
            thread.start()
            thread.join()
    assert flops.total == (3 + 2) * 2 * 8 * 8 * 4, (
        "torch counts by thread, so what nobody announced is not seen"
    )


def test_outside_of_a_count_work_stays_as_it_is() -> None:
    def task() -> int:
        return 7

    assert counted(task) is task


def test_attention_on_the_cpu_is_counted() -> None:
    query, key, value = (torch.ones(2, 3, n, d) for n, d in ((5, 8), (7, 8), (7, 8)))
    with counting() as flops, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert flops.total == 2 * 3 * (2 * 5 * 7 * 8 + 2 * 5 * 7 * 8)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forward_pass_is_two_a_parameter_and_token(tiny_encoder: Path, threads: int) -> None:
    encoder = Encoder(resolve(str(tiny_encoder), Path.cwd()), device="cpu", threads=threads)
    encoder.vectors(["red"], "query")
    with counting() as flops:
        encoder.vectors(["red"], "query")
    layers, width, inner, tokens = 2, 32, 64, 16  # tokens: padded to the next multiple of 16
    parameters = layers * (4 * width * width + 2 * width * inner)
    attention = layers * 2 * 2 * tokens * tokens * width
    assert flops.total == pytest.approx(2 * parameters * tokens + attention, rel=0.1)


def test_flash_attention_is_counted_segment_by_segment_whatever_the_groups() -> None:
    """Torch's own count refuses fewer heads of keys than of queries; without a GPU the formula alone can be looked at."""
    queries, keys = torch.zeros(10, 9, 64), torch.zeros(20, 3, 64)
    bounds = [torch.tensor(each, dtype=torch.int32) for each in ([0, 4, 10], [0, 8, 20])]
    assert _packed_attention(queries, keys, keys, *bounds, 6, 12) == 9 * (4 * 8 + 6 * 12) * 2 * (64 + 64)
    one = _packed_attention(queries[None], keys[None], keys[None], None, None, 10, 20)
    assert one == 9 * 10 * 20 * 2 * (64 + 64)
