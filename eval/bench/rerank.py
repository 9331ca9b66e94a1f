"""Rerankers with a language model: time and memory of a query, against plain forward passes and a generative reranker in one run.

    python eval/bench/rerank.py --part cpu                # SmolLM2-135M, two threads, 20 documents x 100 words
    python eval/bench/rerank.py --part gpu                # a model of Mistral-7B's shape and random weights, on CUDA

A query goes the stage's whole way: from its text and the candidates' to rankings, tokenising included. Documents are words that are
one token each, so that they have the length that is asked for. What a method is compared with is the model of transformers as it is
loaded, asked for nothing: a causal pass over as many tokens, or a batch of the documents.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.models.lm.model import CausalLM
from irkit.models.resolve import resolve
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.blockrank import BlockRank
from irkit.stages.rerank.icr import Icr
from irkit.stages.rerank.listwise import Listwise

SHAPE: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072, "sliding_window": None,
    "rope_theta": 1e6,
}  # fmt: skip
"""Of Mistral-7B-Instruct-v0.3, but for the vocabulary, which is the tokeniser's, and more positions."""
PARAMETERS = SHAPE["hidden_size"] * (
    2 * SHAPE["hidden_size"]
    + 2 * SHAPE["num_key_value_heads"] * SHAPE["head_dim"]
    + 3 * SHAPE["intermediate_size"]
)
"""Of the matrices of a layer."""
PEAK = 790e12
"""Operations a second of a large bfloat16 matrix product, for floors."""


class Docs:
    """Documents of one length, made of words that are one token each."""

    def __init__(self, tokenizer: Any, count: int, words: int, seed: int = 0) -> None:
        vocabulary = [
            text
            for text in (tokenizer.decode([number]) for number in range(2000, 12000))
            if text.startswith(" ") and text[1:].isascii() and text[1:].isalpha()
        ]
        rng = np.random.default_rng(seed)
        self._texts = ["".join(rng.choice(vocabulary, words)).strip() for _ in range(count)]

    def __len__(self) -> int:
        return len(self._texts)

    def title(self, _code: int) -> str:
        return ""

    def body(self, code: int) -> str:
        return self._texts[code]

    text = body


class Bench:
    """A model, and what is asked of it."""

    def __init__(self, model: CausalLM, turns: int) -> None:
        self.model, self.turns = model, turns
        self.cuda = model.device != "cpu"

    def time(
        self, work: Callable[[], Any], turns: int | None = None, warm: float = 0.0
    ) -> tuple[float, float]:
        """Return the median of seconds after a warm-up, of a turn and of ``warm`` seconds, and the peak of the device's GiB."""
        began = time.perf_counter()
        work()
        while time.perf_counter() - began < warm:
            work()
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(turns or self.turns):
            started = time.perf_counter()
            work()
            if self.cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds), torch.cuda.max_memory_allocated() / 2**30 if self.cuda else 0.0

    def row(
        self, name: str, work: Callable[[], Any], floor: float | None = None, turns: int | None = None
    ) -> float:
        """Time and print a row; return the milliseconds."""
        seconds, memory = self.time(work, turns)
        least = "-" if floor is None else f"{floor * 1e3:.0f}"
        print(
            f"| {name} | {seconds * 1e3:.1f} | {least} | {f'{memory:.1f}' if self.cuda else '-'} |",
            flush=True,
        )
        return seconds * 1e3

    def stage(self, stage: Any, docs: Docs, queries: int = 1) -> Callable[[], Rankings]:
        """Return a call of a stage over all documents, a query a call."""
        state = open_state(stage, self.model, docs)
        count = len(docs)
        asked = Queries.of([f"what is known about subject number {number}" for number in range(queries)])
        upstream = Rankings.from_lists([np.arange(count)] * queries, [np.arange(count, 0.0, -1)] * queries)
        return lambda: stage.run(Batch(asked, (upstream,)), state)

    def causal(self, tokens: int, layers: int) -> Callable[[], Any]:
        """Return a causal pass of the plain model."""
        return self.plain(torch.randint(100, 12000, (1, tokens)), layers)

    def plain(self, ids: torch.Tensor, layers: int) -> Callable[[], Any]:
        base, there = self.model.model.base_model, ids.to(self.model.device)

        def work() -> None:
            all_layers, base.config.num_hidden_layers = base.config.num_hidden_layers, layers
            with torch.inference_mode():
                base(input_ids=there, use_cache=False)
            base.config.num_hidden_layers = all_layers

        return work


def open_state(stage: Any, model: CausalLM, docs: Any) -> Any:
    """Prepare a stage with a model that is loaded, over documents that are in no collection."""
    given = {"load_model": lambda *_args, **_options: model}
    context = Context(SimpleNamespace(docs=docs, queries=None, name="none", fingerprint="none"), None)  # type: ignore[arg-type]
    return type("Bound", (type(stage),), given)(**stage.model_dump()).prepare(context)


def causal_floor(tokens: int, layers: int) -> float:
    """Seconds of a causal pass at the peak: the matrices, and half of the attention matrix."""
    attention = 2 * tokens**2 * SHAPE["num_attention_heads"] * SHAPE["head_dim"]
    return layers * (2 * PARAMETERS * tokens + attention) / PEAK


def block_floor(tokens: int, layers: int) -> float:
    """Seconds of the matrices alone: what documents see of themselves and the instruction is 1 % more."""
    return layers * 2 * PARAMETERS * tokens / PEAK


OPTIONS: dict[str, Any] = {"depth": None, "words": None, "batch_tokens": 1 << 17}


def gpu(tokenizer_of: str, turns: int, rows: list[str]) -> None:
    """Measure a model of Mistral-7B's shape."""
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    folder = Path(tokenizer_of)
    tokenizer = AutoTokenizer.from_pretrained(str(folder if tokenizer_of else smollm2()))
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        whole = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), **SHAPE)).eval()
    torch.set_default_dtype(torch.float32)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; Mistral-7B's shape, random, bfloat16\n"
    )
    print("| a query | ms | floor ms | peak GiB |\n|---|---|---|---|")
    if "plain" in rows:
        plain_rows(whole, turns)
    generative = None
    if "listwise" in rows:
        bench = Bench(CausalLM.around(whole, tokenizer, "random", attention="sdpa"), 1)
        work = bench.stage(Listwise(**OPTIONS), Docs(tokenizer, 100, 160))
        generative = bench.row("listwise, windows of 20 by 10, 100 x 160", work)
    bench = Bench(CausalLM.around(whole, tokenizer, "random"), turns)
    if "attention" in rows:
        icr, each = attention_rows(bench, tokenizer)
        per = ", ".join(f"{count}: {ms / count:.2f}" for count, ms in each.items())
        print(f"\nblockrank, ms a document: {per}")
        if generative:
            print(
                f"listwise / icr: {generative / icr:.1f}; listwise / blockrank: {generative / each[100]:.1f}\n"
            )
    if "kept" in rows:
        kept_rows(bench, tokenizer)


def plain_rows(whole: Any, turns: int) -> None:
    """Measure the model as transformers loads it."""
    plain = CausalLM.__new__(CausalLM)
    plain.device, plain.model = "cuda", whole
    whole.set_attn_implementation("sdpa")
    bench = Bench(plain, turns)
    for layers in (32, 16):
        name = f"plain causal pass, 16,240 tokens, {layers} layers"
        bench.row(name, bench.causal(16240, layers), causal_floor(16240, layers))
    for count, length in ((100, 160), (500, 200)):
        ids = torch.randint(100, 12000, (count, length))
        name = f"plain batch of {count} x {length}, 21 layers"
        bench.row(name, bench.plain(ids, 21), block_floor(count * length, 21))


def attention_rows(bench: Bench, tokenizer: Any) -> tuple[float, dict[int, float]]:
    """Measure ``icr`` and ``blockrank``; return the milliseconds of the first, and those of the second by documents."""
    docs = Docs(tokenizer, 100, 155)  # with its number and separator a document has 160 tokens
    found = []
    for layers in (32, 16):
        stage = Icr(**OPTIONS, layers=None if layers == 32 else (0, layers - 1))
        name = f"icr, 100 x 160, both passes, {layers} layers"
        found.append(bench.row(name, bench.stage(stage, docs), causal_floor(16240, layers)))
    each = {}
    for count, words in ((50, 148), (100, 148), (200, 148), (500, 148), (500, 188)):
        length = words + 12  # of its label
        work = bench.stage(BlockRank(**OPTIONS, layer=20), Docs(tokenizer, count, words))
        ms = bench.row(f"blockrank, {count} x {length}, to layer 20", work, block_floor(count * length, 20))
        each.setdefault(count, ms)
    return found[0], each


def kept_rows(bench: Bench, tokenizer: Any) -> None:
    """Measure ``blockrank`` over documents that are kept on the device."""
    stage = BlockRank(**OPTIONS, layer=20, layout="query-free", cache_gb=16)
    for queries in (1, 2, 8):
        # the first twenty turns of a process were seen to take half as long again
        work = bench.stage(stage, Docs(tokenizer, 100, 148), queries)
        seconds, memory = bench.time(work, 200 // queries, warm=3.0)
        name = f"blockrank, 100 x 160 kept, to layer 20, {queries} queries a call"
        print(f"| {name} | {seconds * 1e3 / queries:.1f} | 3 | {memory:.1f} |", flush=True)


def cpu(turns: int, threads: int) -> None:
    """Measure SmolLM2-135M on the CPU."""
    torch.set_num_threads(threads)
    print(f"SmolLM2-135M, {threads} threads, bfloat16, 20 documents x 100 words\n")
    print("| a query | ms | floor ms | peak GiB |\n|---|---|---|---|")
    resolved = resolve("smollm2")
    listing = CausalLM(resolved, device="cpu", attention="sdpa")
    model = CausalLM(resolved, device="cpu")
    docs = Docs(model.tokenizer, 20, 100)
    bench = Bench(model, turns)
    plain = Bench(listing, turns)
    plain.row("plain causal pass, 2,300 tokens, 30 layers", plain.causal(2300, 30))
    for name, stage in (
        ("icr", Icr()),
        ("icr, layers 0 to 15", Icr(layers=(0, 15))),
        ("blockrank", BlockRank()),
        ("blockrank, query-free", BlockRank(layout="query-free")),
        ("blockrank, query-free, documents kept", BlockRank(layout="query-free", cache_gb=1)),
    ):
        bench.row(name, bench.stage(stage, docs))
    plain.row("listwise", plain.stage(Listwise(), docs), turns=1)


def smollm2() -> Path:
    """Return the folder of SmolLM2 in transformers' format."""
    from irkit.models.lm.loading import converted

    return converted(resolve("smollm2"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["cpu", "gpu"], required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--tokenizer", default="", help="a folder with a tokenizer.json, where SmolLM2's is not there"
    )
    rows = ["plain", "listwise", "attention", "kept"]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="of the GPU's")
    options = parser.parse_args()
    if options.part == "cpu":
        cpu(options.turns, options.threads)
    else:
        gpu(options.tokenizer, options.turns, options.rows)


if __name__ == "__main__":
    main()
