"""Training an attention reranker: lists a second, and what of a step takes how long.

    python eval/bench/train_lists.py --layers 16 --batch 16 --lora 16 --layout released --seconds 20
    python eval/bench/train_lists.py --layers 16 --batch 16 --lora full

Lists are made up (20 documents of 130 tokens, random ids); the model has the shape of SmolLM2-135M and random weights. A step is
what `irkit train` does: lists made by a second thread, the forward and the backward pass, clipping and AdamW.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from irkit.models.device import deterministic
from irkit.models.lm.learning.reader import LearningReader
from irkit.models.lm.learning.weights import update, whole
from irkit.stages.rerank.blockrank_prompt import Question
from irkit.train.blockrank.lists import Batch, ListTokens
from irkit.train.blockrank.loss import list_loss

SHAPE: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
"""Of SmolLM2-135M; the rotary base changes no time."""
DOCUMENTS, TOKENS = 20, 130
FIRST = {"released": 112, "query-free": 92}
LAST = 75


def main() -> None:
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--layers", type=int, default=16)
    own.add_argument("--batch", type=int, default=16)
    own.add_argument("--lora", default="16", help="a rank, or full")
    own.add_argument("--layout", choices=tuple(FIRST), default="released")
    own.add_argument("--seconds", type=float, default=20)
    own.add_argument("--checkpointing", action="store_true")
    own.add_argument("--plain", action="store_true", help="transformers' layers and peft's modules")
    own.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = own.parse_args()
    cuda = given.device.startswith("cuda")
    reader, weights = model_of(given, cuda)
    made = lists(given.layout, 8 * given.batch)
    draws = np.random.default_rng(1)

    def assemble() -> Batch:
        batch = Batch.of([made[i] for i in draws.permutation(len(made))[: given.batch]])
        return batch.to(None, pin=True) if cuda else batch

    began = time.process_time()
    for _ in range(5):
        one = assemble()
    parts = {"assembling (a core's time, beside the rest)": (time.process_time() - began) / 5 * 1e3}
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    tokens = len(one.lesson.ids)
    with deterministic(), ThreadPoolExecutor(1) as ahead:
        step(reader, assemble(), optimizer, weights, given.device)
        step(reader, assemble(), optimizer, weights, given.device)
        sync(cuda)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        following, count, began, timed = ahead.submit(assemble), 0, time.perf_counter(), []
        while time.perf_counter() - began < given.seconds:
            batch, following = following.result(), ahead.submit(assemble)
            timed.append(step(reader, batch, optimizer, weights, given.device))
            count += 1
        sync(cuda)
        seconds = time.perf_counter() - began
    for number, name in enumerate(("forward", "backward", "clipping and AdamW")):
        parts[name] = float(np.median([each[number] for each in timed]))
    work = flops(given, tokens) * count / seconds
    print(
        f"{given.batch} lists of {tokens / given.batch:.0f} tokens, {given.layers} layers, LoRA {given.lora}, {given.layout}"
    )
    print(
        f"{count * given.batch / seconds:.1f} lists/s, {count * tokens / seconds:,.0f} tokens/s, "
        f"{seconds / count * 1e3:.1f} ms a step"
    )
    top = peak(given.device) if cuda else float("nan")
    print(
        f"{work / 1e12:.1f} TFLOP/s by formula, {work / top:.1%} of {top / 1e12:.0f} measured of a large bfloat16 product"
    )
    if cuda:
        print(
            f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB at most, on {torch.cuda.get_device_name()}"
        )
    for name, milliseconds in parts.items():
        print(f"{milliseconds:9.2f} ms  {name}")


def model_of(given: argparse.Namespace, cuda: bool) -> tuple[LearningReader, list[Any]]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    full, dtype = given.lora == "full", torch.bfloat16 if cuda else torch.float32
    model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, "num_hidden_layers": given.layers}))
    model = model.to(given.device, torch.float32 if full else dtype).eval()
    last = given.layers - 1
    rank = 0 if full else int(given.lora)
    weights = whole(model, last) if full else update(model, rank, 2 * rank, last, 0).weights
    name = str(dtype).removeprefix("torch.")
    reader = LearningReader(model, last, dtype=name, checkpointing=given.checkpointing, quick=not given.plain)
    return reader, list(weights.values())


def lists(layout: str, count: int) -> list[ListTokens]:
    """Make lists up, of the lengths of real ones."""
    draws = np.random.default_rng(0)

    def ids(size: int) -> Any:
        return draws.integers(10, SHAPE["vocab_size"], size)

    first, found = ids(FIRST[layout]), []
    for _ in range(count):
        lead = first if layout == "query-free" else ids(FIRST[layout])
        question = Question("q", lead, ids(LAST), (LAST - 2, LAST), None, 512)
        blocks = [ids(TOKENS) for _ in range(DOCUMENTS)]
        found.append(ListTokens(question, blocks, np.arange(DOCUMENTS) < 1, np.full(DOCUMENTS, np.nan)))
    return found


def step(
    reader: LearningReader, batch: Batch, optimizer: Any, weights: list[Any], device: str
) -> tuple[float, float, float]:
    """Return the milliseconds of the forward pass, the backward pass, and the rest."""
    marks = [mark(device)]
    there = batch.to(device)
    shares = reader.shares(there.lesson)
    mine = torch.arange(there.there.shape[1], device=shares.device)
    scores = torch.bmm(shares[:, None], (there.owner[:, :, None] == mine).to(shares.dtype))[:, 0]
    loss = list_loss(scores, there.there, there.relevant, 0.05).mean()
    if not torch.isfinite(loss):
        raise SystemExit(f"the loss is {loss.item()}")
    marks.append(mark(device))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    marks.append(mark(device))
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    marks.append(mark(device))
    loss.item()
    if not device.startswith("cuda"):
        return tuple((b - a) * 1e3 for a, b in pairwise(marks))  # type: ignore[return-value]
    torch.cuda.synchronize()
    return tuple(a.elapsed_time(b) for a, b in pairwise(marks))  # type: ignore[return-value]


def mark(device: str) -> Any:
    if not device.startswith("cuda"):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def sync(cuda: bool) -> None:
    if cuda:
        torch.cuda.synchronize()


def flops(given: argparse.Namespace, tokens: int) -> float:
    """Return the operations of a step: products of the matrices, forward and back, and attention; nothing is computed again.

    With low-rank updates the gradients of the matrices themselves are not computed, and not counted.
    """
    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    keys = hidden * SHAPE["num_key_value_heads"] // SHAPE["num_attention_heads"]
    matrices = (given.layers - 1) * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner)
    first = FIRST[given.layout]
    seen = (
        DOCUMENTS * TOKENS * (first + TOKENS / 2)
        + LAST * (first + DOCUMENTS * TOKENS + LAST / 2)
        + first**2 / 2
    )
    attention = (given.layers - 1) * given.batch * seen * hidden * 2
    return float(2 * tokens * matrices * (3 if given.lora == "full" else 2) + 2 * attention * 3.5)


def peak(device: str) -> float:
    """Return the operations a second of a product of 8192 x 8192 matrices."""
    one = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    torch.cuda.synchronize()
    first, last = mark(device), None
    for _ in range(20):
        one @ one
    last = mark(device)
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (first.elapsed_time(last) / 1e3)


if __name__ == "__main__":
    main()
