"""Tiny neural models with random weights, and a context to run a stage in, for the tests of models and stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS

from irkit.core.queries import Queries
from irkit.data.collection import Collection, EvalPolicy, Qrels
from irkit.data.docstore import DocStore
from irkit.pipeline.context import Context, Runtime
from irkit.store import Store


def _backbone(folder: Path, seed: int, *, labels: int | None = None) -> None:
    """Save a BERT of two layers and 32 dimensions that knows WORDS; with ``labels``, a sequence classifier."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokeniser = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokeniser.normalizer = normalizers.Lowercase()
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()
    tokeniser.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    fast = PreTrainedTokenizerFast(tokenizer_object=tokeniser, model_max_length=128, **special)
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    options = {} if labels is None else {"num_labels": labels}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        **options,
    )
    (BertModel(config) if labels is None else BertForSequenceClassification(config)).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder: mean pooling, 32 dimensions, not normalised, compared by cosine."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path_factory.mktemp("encoder")
    _backbone(folder / "backbone", 1)
    transformer = Transformer(str(folder / "backbone"), max_seq_length=64)
    model = SentenceTransformer(
        modules=[transformer, Pooling(32)], prompts={"query": "red ", "document": ""}, device="cpu"
    )
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MultiVectorEncoder: 32 dimensions a token, of unit length."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    folder = tmp_path_factory.mktemp("colbert")
    _backbone(folder / "backbone", 2)
    transformer = Transformer(str(folder / "backbone"), max_seq_length=64)
    modules = [transformer, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with one output."""
    folder = tmp_path_factory.mktemp("cross-encoder")
    _backbone(folder, 3, labels=1)
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with three outputs."""
    folder = tmp_path_factory.mktemp("classifier")
    _backbone(folder, 4, labels=3)
    return folder


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Context]:
    """Make a context over a collection of these texts; the docno of text i is "d" and i in four digits, so its code is i."""

    def make(texts: Sequence[str], *, threads: int = 1, store: str = "store") -> Context:
        content = json.dumps(list(texts))
        folder = tmp_path / f"docs-{abs(hash(content))}"
        if not folder.exists():
            _write_docs(folder, texts)
        empty = Qrels(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
        collection = Collection(
            "tiny", DocStore(folder), Queries.of([]), empty, EvalPolicy(), content, content
        )
        return Context(collection, Store(tmp_path / store), Runtime("cpu", threads))

    return make


def _write_docs(folder: Path, texts: Sequence[str]) -> None:
    folder.mkdir()
    blob, bounds = bytearray(), []
    for i, text in enumerate(texts):
        row = []
        for part in (f"d{i:04d}", "", text):
            row.append(len(blob))
            blob += part.encode()
        bounds.append([*row, len(blob)])
    (folder / "text.bin").write_bytes(bytes(blob))
    np.save(folder / "bounds.npy", np.array(bounds, np.int64).reshape(-1, 4))
