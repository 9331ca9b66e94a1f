"""What a model folder may do when it is loaded: nothing but hold numbers and text, unless the experiment
trusts its code.

transformers and sentence-transformers load pickled weights with torch's ``weights_only`` unpickler, prefer safetensors, and run
code that comes with a model only under ``trust_remote_code``. Some references to foreign code they drop with a log line and go on
with another function; here every one of them is an error, found before anything is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError, Problem

_ACTIVATIONS = ("activation_fn", "activation_function", "sbert_ce_default_activation_function")


def check_folder(folder: Path, *, trust_remote_code: bool) -> None:
    """Refuse a model whose configuration names code outside sentence-transformers and ``torch.nn``.

    Raises:
        ModelError: with every such reference, unless ``trust_remote_code``; or when a JSON file cannot be
            read.
    """
    if trust_remote_code:
        return
    hint = "read that code first; to run it set trust_remote_code: true on the stage"
    problems = [
        Problem(f"the model wants to run code of its own: {reference}", str(file), hint)
        for file, reference in _references(folder)
    ]
    if problems:
        raise ModelError(*problems)


def model_type(folder: Path) -> str:
    """Return what a folder holds: SentenceTransformer, MultiVectorEncoder, CrossEncoder or SparseEncoder.

    Raises:
        ModelError: when a JSON file cannot be read.
    """
    said = _json(folder / "config_sentence_transformers.json").get("model_type")
    if said:
        return "MultiVectorEncoder" if said == "ColBERT" else str(said)
    architectures = _json(folder / "config.json").get("architectures") or []
    if "HF_ColBERT" in architectures:
        return "MultiVectorEncoder"
    if (
        any(str(name).endswith("ForSequenceClassification") for name in architectures)
        and not (folder / "modules.json").exists()
    ):
        return "CrossEncoder"
    return "SentenceTransformer"


def _references(folder: Path) -> Iterator[tuple[Path, str]]:
    modules = folder / "modules.json"
    for module in _json(modules, default=[]):
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            yield modules, str(module.get("type"))
    for file in sorted(folder.rglob("config*.json")):
        for key, value in _items(_json(file)):
            if key in _ACTIVATIONS and isinstance(value, str) and not value.startswith("torch.nn."):
                yield file, value


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _items(item)


def _json(file: Path, default: Any = None) -> Any:
    if not file.is_file():
        return {} if default is None else default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError.of(
            f"the file cannot be read: {error}", where=str(file), hint="fetch the model again"
        ) from error
