"""Loading sentence-transformers models: offline, safely, in a stated precision, with errors a person can act on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from irkit.core.errors import ConfigError, ModelError
from irkit.models.resolve import ResolvedModel
from irkit.models.safety import check_folder
from irkit.models.xtr import load_xtr

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]


def load_model(kind: str, model: ResolvedModel, device: str, dtype: Dtype, trust_remote_code: bool) -> Any:
    """Load a model folder with the class ``kind`` of sentence-transformers, or as XTR; of an adapter, the base model with its
    updates merged into it, and its projection of token vectors in place of whatever makes one vector of them.

    Only files of the folder are used; nothing is asked of the network. Weights are safetensors, or pickles
    read by torch's ``weights_only`` unpickler, which builds tensors and nothing else.

    Raises:
        ModelError: when the folder cannot be loaded, or wants to run code of its own without
            ``trust_remote_code``.
    """
    folder, adapted = model.weights.path, model.trained is not None and model.trained.adapter
    for each in {folder, model.path}:
        check_folder(each, trust_remote_code=trust_remote_code)
    import sentence_transformers
    import torch

    options: dict[str, Any] = {
        "device": device,
        "trust_remote_code": trust_remote_code,
        "local_files_only": True,
        "model_kwargs": {"dtype": getattr(torch, "float32" if adapted else dtype), "weights_only": True},
    }
    try:
        with quiet():
            load = load_xtr if kind == "XTR" else getattr(sentence_transformers, kind)
            loaded = load(str(folder), **options)
    except (
        Exception
    ) as error:  # torch, transformers, tokenizers and safetensors each raise what they like over a bad folder
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        hint = "a model may not run its own code unless the stage has trust_remote_code: true; otherwise fetch the model again"
        raise ModelError.of(f"the model cannot be loaded: {reason}", where=str(folder), hint=hint) from error
    if adapted:
        from irkit.models.lora import merge

        merge(model, loaded.transformers_model)
    if model.trained is not None and model.trained.head:
        from irkit.models.token_head import put_on

        put_on(loaded, model)
    loaded.to(getattr(torch, dtype))
    loaded.eval()
    return loaded


def limit_length(loaded: Any, wanted: int | None, name: str, *, documents_only: bool = False) -> None:
    """Have a loaded model truncate texts to ``wanted`` tokens; None leaves its own limit.

    Args:
        loaded: of sentence-transformers.
        wanted: the limit.
        name: the model's, for the error message.
        documents_only: leave queries alone, and let documents be as long as the model has positions for: the lengths
            that a ColBERT checkpoint states are those of its training, and its queries are filled up to theirs.

    Raises:
        ConfigError: when that is more than the model's own limit.
    """
    if wanted is None:
        return
    own = (positions(loaded) if documents_only else None) or loaded.max_seq_length
    if own is not None and wanted > own:
        message, hint = (
            f"max_length {wanted} is more than the model's {own} tokens",
            f"leave it out, or take at most {own}",
        )
        raise ConfigError.of(message, where=name, hint=hint)
    if documents_only:
        loaded[0].document_length = wanted
    else:
        loaded.max_seq_length = wanted


def positions(loaded: Any) -> int | None:
    """Return for how many tokens a loaded model has positions; None where nothing says so, as with T5's relative ones.

    RoBERTa and its kin count positions from behind the padding token's on, so their first few are never used.
    """
    transformer = loaded.transformers_model
    most = getattr(getattr(transformer, "config", None), "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return None
    unused = (
        module.padding_idx + 1
        for name, module in transformer.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    return most - next(unused, 0)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars of transformers off the screen: irkit shows its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
