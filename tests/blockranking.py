"""BlockRank on tiny models, and its scores as transformers' eager attention has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_lm import tiny_lm

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.blockrank import BlockRank

INSTRUCTION = (
    "You will be given a query and a list of documents. Each document will be formatted as ID: <id> | CONTENT: <content> | "
    "END ID: <id>. You need to read carefully and understand all of them and your goal is to find all document(s) from the list "
    "that can help answer the query."
)
DOCS = [
    "wing lift and drag",
    "",
    "heat flow in the boundary layer " * 3,
    "{braces} [1] %s \\n\n\n\tand\u2028more",
    "日本語の文書 🎉 وثيقة",
    "<|end|> <s> <|user|> Query: wing",
    "wing lift and drag",
    "shock pressure",
]
QUERY = "lift of a wing"


def models(root: Path) -> Callable[..., Path]:
    """Return what makes tiny models in a folder, each once."""

    @cache
    def make(family: str = "llama", **config: Any) -> Path:
        more = {"sliding_window": None} if family == "mistral" else {}
        name = "-".join([family, *(f"{key}{value}" for key, value in config.items())])
        return tiny_lm(root / name, family, **{**more, **config})

    return make


def stage(path: Path, **options: Any) -> BlockRank:
    return BlockRank(**{"model": str(path), "dtype": "float32", "depth": None, **options})


def ranked(docs: Sequence[int]) -> Rankings:
    """One query's candidates, in this order."""
    return Rankings.from_lists([list(docs)], [-np.arange(len(docs))])


def scored(
    model: BlockRank, context: Context, docs: Sequence[int], query: str = QUERY, state: Any = None
) -> dict[int, float]:
    found = model.run(Batch(Queries.of([query]), (ranked(docs),)), state or model.prepare(context))
    codes, scores = found[0]
    return dict(zip(codes.tolist(), scores.tolist(), strict=True))


@cache
def eager(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32)
    return AutoTokenizer.from_pretrained(path), model


def by_eager(
    path: Path,
    docs: Sequence[str],
    query: str,
    *,
    layout: str,
    layer: int,
    labels: Sequence[int],
    pad: int = 0,
    start: int | None = None,
) -> Any:
    """The scores from transformers' eager attention, with a dense mask; every block padded to ``pad`` tokens at its left."""
    tokenizer, model = eager(path)

    def encode(text: str, special: bool = False) -> list[int]:
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=not special)
        return list(found["input_ids"])

    asked = f"\nQuery: {query}" if layout == "released" else ""
    first = encode(f"<s><|user|>\n{INSTRUCTION}{asked}\n\nDocuments:", True)
    last = encode(
        "\n\n====== Now let's start! ======\nWhich document is most relevant to answer the query? "
        f"Print out the ID of the document.\nQuery: {query}\nThe following document(s) can help answer the query:"
        "<|end|>\n<|user|>\nFinal Answer: ",
        True,
    ) + encode("[")
    each = [
        encode(f"\nID: {label} | CONTENT: {text.strip()} | END ID: {label}")
        for label, text in zip(labels, docs, strict=True)
    ]
    blocks = [first, *each, last]
    width = [max(pad, len(block)) for block in blocks]
    begin = start if start is not None else len(first) + max(map(len, each))
    ids = torch.zeros(sum(width), dtype=torch.long)
    places = torch.zeros(sum(width), dtype=torch.long)
    seen = torch.eye(sum(width), dtype=torch.bool)
    ends = np.cumsum(width)
    spans = [range(end - len(block), end) for end, block in zip(ends.tolist(), blocks, strict=True)]
    for number, (block, span) in enumerate(zip(blocks, spans, strict=True)):
        ids[span] = torch.tensor(block)
        at = 0 if number == 0 else begin if number == len(blocks) - 1 else len(first)
        places[span] = torch.arange(at, at + len(block))
        rows = torch.tensor(span)
        seen[rows[:, None], rows[None, :]] = torch.ones(len(block), len(block)).tril().bool()
        before = spans[:1] if number < len(blocks) - 1 else spans[:-1]
        for other in before if number else []:
            seen[rows[:, None], torch.tensor(other)[None, :]] = True
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]
    with torch.inference_mode():
        out = model(ids[None], attention_mask=mask, position_ids=places[None], output_attentions=True)
    shares = out.attentions[layer][
        0, :, -2:
    ].double()  # over all that is visible: of the documents' tokens the rest is divided out
    tokens = [torch.tensor(span) for span in spans[1:-1]]
    total = shares[..., torch.cat(tokens)].sum(-1)
    return np.array([float((shares[..., some].sum(-1) / total).mean()) for some in tokens])
