"""Tiny neural models with random weights, and a context to run a stage in, for the tests of models and stages."""

from __future__ import annotations

import json
import string
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


@pytest.fixture(scope="session")
def tiny_xtr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XTR checkpoint as ``google/xtr-base-en`` is published: T5 1.1 of 32 dimensions, projected to 16."""
    import torch
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    folder = tmp_path_factory.mktemp("xtr")
    pieces = [f"▁{word}" for word in WORDS] + ["▁", *",.-", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, -1.0 if len(piece) > 1 else -4.0) for piece in pieces]
    T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512).save_pretrained(folder)
    torch.manual_seed(5)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        initializer_factor=3.0,
    )
    T5EncoderModel(config).save_pretrained(folder)
    (folder / "2_Dense").mkdir()
    shape = {"in_features": 32, "out_features": 16, "bias": False}
    activation = {"activation_function": "torch.nn.modules.linear.Identity"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(shape | activation))
    torch.save({"linear.weight": torch.randn(16, 32)}, folder / "2_Dense" / "pytorch_model.bin")
    return folder


def _colbert_backbone(folder: Path, added: Sequence[str] = ()) -> None:
    """Save a BERT with BERT's own tokeniser, which knows WORDS, some pieces, punctuation and unused tokens."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", *string.punctuation]
    vocabulary += [*WORDS, "##s", "##ing", "##ed"]
    tokeniser = BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=64)
    tokeniser.add_tokens(list(added))
    tokeniser.save_pretrained(folder)
    torch.manual_seed(6)
    config = BertConfig(
        vocab_size=len(tokeniser),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_stanford(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ColBERT checkpoint as ``colbert-ir/colbertv2.0`` is published; documents of at most 20 tokens, 16 dimensions."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("stanford")
    _colbert_backbone(folder)
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    weights["linear.weight"] = torch.randn(16, 32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    metadata = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_token": "[Q]",
        "doc_token": "[D]",
        "dim": 16,
        "similarity": "cosine",
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
        "query_maxlen": 32,
        "doc_maxlen": 20,
    }
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    return folder


@pytest.fixture(scope="session")
def tiny_pylate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ColBERT checkpoint as PyLate saves it, such as ``lightonai/GTE-ModernColBERT-v1``; documents of at most 20 tokens."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("pylate")
    _colbert_backbone(folder, ["[Q] ", "[D] "])
    (folder / "1_Dense").mkdir()
    save_file({"linear.weight": torch.randn(16, 32)}, folder / "1_Dense" / "model.safetensors")
    modules = [("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense")]
    files: dict[str, object] = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)
        ],
        "1_Dense/config.json": {
            "in_features": 32,
            "out_features": 16,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
        "sentence_bert_config.json": {"max_seq_length": 19, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "model_type": "ColBERT",
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": "[Q] ",
            "document_prefix": "[D] ",
            "query_length": 32,
            "document_length": 20,
            "attend_to_expansion_tokens": False,
            "skiplist_words": list(string.punctuation),
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
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
