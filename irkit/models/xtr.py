"""XTR checkpoints: a T5 encoder and a projection, in the layout of ``google/xtr-base-en``.

Such a folder has no sentence-transformers configuration that would say how its parts go together::

    config.json            model_type "t5" (or "mt5", "umt5")
    model.safetensors      the encoder's weights (or pytorch_model.bin)
    tokenizer.json, ...    SentencePiece; padding is token 0
    2_Dense/config.json    in_features 768, out_features 128, bias false, activation Identity
    2_Dense/               linear.weight [128, 768] in model.safetensors or pytorch_model.bin

What goes on around the weights is in no file. It is what the authors' code does (Lee et al., "Rethinking the Role of Token
Retrieval in Multi-Vector Retrieval", arXiv 2304.01982; the notebook of google-deepmind/xtr): the text in lower case and without any
prefix, cut to 32 tokens for a query and 512 for a document, the end-of-sequence token included; every token that is not padding
counts, projected and divided by its Euclidean norm. (Letters are lowered one by one, so the last sigma of a Greek word in capitals
is the one letter that comes out otherwise than with Python's ``lower``.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from irkit.models.safety import read_json

QUERY_LENGTH = 32
DOCUMENT_LENGTH = 512

_HEAD = "2_Dense"
_BACKBONES = ("t5", "mt5", "umt5")
_EMBEDDINGS = {"shared.weight", "encoder.embed_tokens.weight"}


def is_xtr(folder: Path) -> bool:
    """Whether a folder is an XTR checkpoint.

    It is one when its ``config.json`` names a T5 model, it has ``2_Dense/config.json``, and nothing says otherwise:
    neither a ``model_type`` in ``config_sentence_transformers.json`` nor a pooling in ``modules.json``. The last is
    what tells it from GTR and Sentence-T5, which are a T5 encoder with ``2_Dense`` too, but give one vector a text.

    Raises:
        ModelError: when a JSON file cannot be read.
    """
    if read_json(folder / "config.json").get("model_type") not in _BACKBONES:
        return False
    if not (folder / _HEAD / "config.json").is_file():
        return False
    if read_json(folder / "config_sentence_transformers.json").get("model_type"):
        return False
    modules = read_json(folder / "modules.json", default=[])
    return not any("Pooling" in str(module.get("type")) for module in modules)


def load_xtr(folder: str, **options: Any) -> Any:
    """Load an XTR checkpoint as a MultiVectorEncoder of sentence-transformers.

    Args:
        folder: the checkpoint.
        options: what a model of sentence-transformers takes: device, model_kwargs, trust_remote_code, local_files_only.

    Raises:
        ValueError: when the files lack weights of the encoder, which transformers would fill with random numbers.
        Exception: whatever transformers, tokenizers, safetensors and torch raise over a bad folder.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from torch.nn import Identity

    offline = {
        "local_files_only": options["local_files_only"],
        "trust_remote_code": options["trust_remote_code"],
    }
    transformer = Transformer(
        folder,
        model_kwargs={**offline, **options["model_kwargs"]},
        processor_kwargs=dict(offline),
        config_kwargs=dict(offline),
        max_seq_length=DOCUMENT_LENGTH,
        query_length=QUERY_LENGTH,
        document_length=DOCUMENT_LENGTH,
        do_lower_case=True,
    )
    _check_weights(Path(folder), set(transformer.model.state_dict()))
    dense = Dense.load(
        folder, subfolder=_HEAD, local_files_only=True, init_defaults={"activation_function": Identity()}
    )
    dense.module_input_name = dense.module_output_name = "token_embeddings"
    modules = [transformer, dense, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    return MultiVectorEncoder(modules=modules, device=options["device"])


def _check_weights(folder: Path, wanted: set[str]) -> None:
    given = _weight_names(folder)
    if given & _EMBEDDINGS:  # one matrix with two names
        given |= _EMBEDDINGS
    missing = sorted(wanted - given)
    if missing:
        raise ValueError(f"{len(missing)} weights of the encoder are missing, such as {missing[0]}")


def _weight_names(folder: Path) -> set[str]:
    """Return the names of the weights in the file that transformers reads."""
    import torch
    from safetensors import safe_open

    for kind in ("model.safetensors", "pytorch_model.bin"):
        if (folder / f"{kind}.index.json").is_file():
            return set(read_json(folder / f"{kind}.index.json")["weight_map"])
        if (folder / kind).is_file() and kind.endswith(".safetensors"):
            with safe_open(folder / kind, "pt") as file:
                return set(file.keys())
    return set(torch.load(folder / "pytorch_model.bin", map_location="meta", weights_only=True))
