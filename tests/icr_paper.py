"""In-context reranking as its paper has it: plainly, by two passes of transformers' own attention."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_lm import TEMPLATE

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch
from irkit.stages.rerank.icr import Icr

LATE = "Please find information that are relevant to the following query in the paragraphs above."
DOCS = [
    "the wing and the lift of the wing",
    "drag and heat in the boundary layer",
    "shock flow pressure",
    "",
    "the heat of the shock, and what is above the boundary layer of a {wing}",
    "answer",
    "shock flow pressure",
]
ASKED = "drag of the boundary layer"


def attention(
    folder: Path, query: str, docs: Sequence[str], rows: str
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """One pass over the whole prompt: the mean row ``[layers, heads, tokens]``, and where the documents are."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    message, marks = "Here are some paragraphs:", []
    for number, doc in enumerate(docs, start=1):
        message += "\n\n"
        marks.append((len(message), len(message := message + f"[{number}] {doc}".strip())))
    message += "\n\n"
    late = len(message)
    message += f"{LATE}\n\nQuery: {query}"
    assert "{{ m['content'] }}<|end|>" in TEMPLATE
    # the template's line end stands where the paper's prompt, "[INST] Here", has a blank
    whole = f"<s><|user|>\n{message}<|end|>\n<|answer|>\n"
    shift = whole.index(message)
    found = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, return_tensors="pt")
    ends = found.pop("offset_mapping")[0, :, 1].numpy() - shift

    def token(char: int) -> int:
        return int((ends <= char).sum())

    first, last = (
        (token(late), len(ends))
        if rows == "suffix"
        else (token(len(message) - len(query)), token(len(message)))
    )
    with torch.no_grad():
        given = model(**found, output_attentions=True).attentions
    return np.stack([each[0, :, first:last].mean(1).numpy() for each in given]), [
        (token(a), token(b)) for a, b in marks
    ]


def paper(
    folder: Path,
    query: str,
    docs: Sequence[str],
    *,
    heads: set[tuple[int, int]] | None = None,
    rows: str = "suffix",
    calibrate: bool = True,
) -> list[float]:
    """The scores of documents in the order in which the model reads them."""
    asked, spans = attention(folder, query, docs, rows)
    nothing, same = attention(folder, "N/A", docs, rows)
    assert spans == same
    chosen = np.zeros(asked.shape[:2], bool)
    for layer, head in heads or set(np.ndindex(*chosen.shape)):
        chosen[layer, head] = True
    scores = []
    for first, last in spans:
        token = asked[chosen][:, first:last].astype(float).sum(0)
        if not calibrate:
            scores.append(float(token.sum()))
            continue
        token = (token - nothing[chosen][:, first:last].astype(float).sum(0)).tolist()
        lowest = statistics.mean(token) - 2 * statistics.stdev(token)
        scores.append(sum(value for value in token if value > lowest))
    return scores


def run(
    stage: Icr, context: Context, queries: Sequence[str], order: Sequence[int] | None = None
) -> list[dict[int, float]]:
    """Rerank all documents for each query; best first of the stage before: ``order``."""
    docs = list(range(len(context.collection.docs))) if order is None else list(order)
    before = Rankings.from_lists([docs] * len(queries), [[-rank for rank in range(len(docs))]] * len(queries))
    found = stage.run(Batch(Queries.of(queries), (before,)), stage.prepare(context))
    return [dict(zip(codes.tolist(), scores.tolist(), strict=True)) for codes, scores in found]


def icr(folder: Path | str, **options: Any) -> Icr:
    return Icr(**{"model": str(folder), "dtype": "float32", "depth": None, **options})


def close(found: dict[int, float], expected: Sequence[float], codes: Sequence[int]) -> None:
    greatest = np.abs(expected).max()  # a score near zero is what is left of greater numbers
    np.testing.assert_allclose([found[code] for code in codes], expected, rtol=1e-5, atol=1e-5 * greatest)
