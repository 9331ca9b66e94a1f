"""What a model folder may do when it is loaded: nothing but hold numbers and text, unless the experiment
trusts its code.

transformers and sentence-transformers load pickled weights with torch's ``weights_only`` unpickler, prefer safetensors, and run
code that comes with a model only under ``trust_remote_code``. Some references to foreign code they drop with a log line and go on
with another function; here every one of them is an error, found before anything is loaded. So it is with an adapter: peft would
import the module that its configuration names for Megatron's layers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError, Problem

_READ_AS_OWN = {"pylate.models.Dense.Dense"}
"""Classes of other libraries for which sentence-transformers takes one of its own; their code is never imported."""
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


def read_json(file: Path, default: Any = None) -> Any:
    """Read a JSON file; ``default``, or {} unless given, where there is none.

    Raises:
        ModelError: when it cannot be read.
    """
    if not file.is_file():
        return {} if default is None else default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError.of(
            f"the file cannot be read: {error}", where=str(file), hint="fetch the model again"
        ) from error


def _references(folder: Path) -> Iterator[tuple[Path, str]]:
    adapter = folder / "adapter_config.json"
    said = read_json(adapter)
    if isinstance(said, dict) and said.get("megatron_config"):
        yield adapter, str(said.get("megatron_core"))
    modules = folder / "modules.json"
    for module in read_json(modules, default=[]):
        kind = str(module.get("type", ""))
        if not kind.startswith("sentence_transformers.") and kind not in _READ_AS_OWN:
            yield modules, kind
    for file in sorted(folder.rglob("config*.json")):
        for key, value in _items(read_json(file)):
            if key in _ACTIVATIONS and isinstance(value, str) and not value.startswith("torch.nn."):
                yield file, value


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _items(item)
