"""Models that several tests of models read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irkit.models.resolve import ResolvedModel, resolve


@pytest.fixture(scope="session")
def tiny_mlm(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    """A masked language model with the tokeniser of ``tiny_encoder``."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("mlm")
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    config = json.loads((tiny_encoder / "config.json").read_text())
    torch.manual_seed(9)
    BertForMaskedLM(BertConfig(**{k: v for k, v in config.items() if k != "architectures"})).save_pretrained(
        folder
    )
    return resolve(str(folder))
