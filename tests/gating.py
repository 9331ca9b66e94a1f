"""LexSemBridge's gates on a tiny encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from irkit.models.encoder import Encoder
from irkit.models.lexsembridge import Gate
from irkit.models.lexsembridge_files import gate_spec
from irkit.models.masked_lm import MaskedLM
from irkit.models.resolve import ResolvedModel, resolve

TEXTS = ["cat dog cat", "green stone river moon", "", "quark five", "fish " * 40]
KINDS = [
    ("slr", "paper"),
    ("slr", "code"),
    ("llr", "paper"),
    ("llr", "code"),
    ("clr", "paper"),
    ("clr", "code"),
]


def make(
    encoder: Encoder, tiny_encoder: Path, mlm: ResolvedModel | None = None, seed: int = 0, **options: Any
) -> Gate:
    asked = mlm if options.get("method") == "clr" else None
    gate = Gate(gate_spec(encoder.loaded, resolve(str(tiny_encoder)), mlm=asked, **options), seed)
    if asked:
        gate.attach(MaskedLM(asked, "cpu"))
    return gate.eval()


def shaken(gate: Gate, size: float = 1.0, seed: int = 3) -> Gate:
    """The gate with large weights, as if trained long."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in gate.parameters():
            each.copy_(torch.randn(each.shape, generator=random) * size)
    return gate


def inputs(encoder: Encoder, texts: list[str] = TEXTS) -> tuple[dict[str, Any], Any, Any]:
    """Features, token vectors and sentence vectors of texts in one padded batch."""
    features = dict(encoder.loaded.preprocess(texts, prompt="red ", task="query"))
    with torch.no_grad():
        output = encoder.loaded(dict(features), task="query")
    return features, output["token_embeddings"], output["sentence_embedding"]
