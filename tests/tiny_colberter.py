"""A tiny ColBERTer with random weights, for the tests of the model and of the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny import WORDS

DIM, CLS, HIDDEN = 6, 10, 16
PIECES = ["un", "##want", "##ed", "##s", "want", "the", ".", ",", "'", "-", "e", "cafe", *WORDS]


def save_colberter(
    folder: Path, *, mini: int = -1, exact: bool = False, bias: float = 0.0, safe: bool = False, **other: Any
) -> Path:
    """Save a tiny random DistilBERT as a ColBERTer, with the names and files of the published checkpoints.

    Args:
        folder: an empty folder.
        mini: the dimension of the Uni variant's word vectors; -1 for another variant.
        exact: ``compress_to_exact_mini_mode``.
        bias: of the gate: how many words it lets through.
        safe: save the weights as safetensors instead of a pickle.
        other: more of the configuration.
    """
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import DistilBertConfig, DistilBertModel

    vocabulary = {p: i for i, p in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES])}
    tokeniser = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokeniser.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokeniser.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokeniser.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokeniser.save(str(folder / "tokenizer.json"))
    torch.manual_seed(3)
    sizes = {"dim": HIDDEN, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    backbone = DistilBertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=256, initializer_range=0.4, **sizes
    )
    backbone.save_pretrained(folder / "backbone")
    state = {f"bert_model.{k}": v.clone() for k, v in DistilBertModel(backbone).state_dict().items()}
    state["bert_model.embeddings.position_ids"] = torch.arange(256)[None]  # as transformers 4 wrote it
    state["score_merger"] = torch.tensor([0.7])
    shapes = {
        "compressor": (DIM, HIDDEN),
        "compressor_retrieval": (CLS, HIDDEN),
        "stop_word_reducer": (1, DIM),
    }
    for name, shape in (shapes | ({"mini_compressor": (mini, DIM)} if mini > 0 else {})).items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(shape), torch.randn(shape[0])
    state["stop_word_reducer.bias"][:] = bias
    config = {
        "aggregate_unique_ids": True,
        "architectures": ["ColBERTer"],
        "bert_model": "backbone",
        "compress_to_exact_mini_mode": exact,
        "compression_dim": DIM,
        "dual_loss": True,
        "model_type": "ColBERT",
        "retrieval_compression_dim": CLS,
        "return_vecs": False,
        "second_compress_dim": mini,
        "torch_dtype": "float32",
        "trainable": True,
        "transformers_version": "4.12.0",
        "use_contextualized_stopwords": True,
    }
    (folder / "config.json").write_text(json.dumps(config | other))
    if safe:
        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return folder
