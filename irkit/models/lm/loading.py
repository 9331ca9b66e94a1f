"""Loading causal language models: folders of transformers, and GGUF files, which are converted once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from irkit.core.errors import ModelError
from irkit.core.fingerprint import fingerprint
from irkit.models.catalogue import models_folder
from irkit.models.loading import Dtype, quiet
from irkit.models.lora import merge
from irkit.models.resolve import ResolvedModel
from irkit.models.safety import check_folder
from irkit.models.trained import STAGES

_CONVERTED = "language-model-1"
"""Of the folders that GGUF files are converted to; counts up when they come to be written otherwise."""


def load_language_model(
    model: ResolvedModel, device: str, dtype: Dtype, trust_remote_code: bool, attention: str
) -> tuple[Any, Any]:
    """Load a causal language model and its tokeniser, offline; of an adapter, the base model with its updates merged into it, and
    the base model's tokeniser.

    Raises:
        ModelError: when it cannot be loaded, is no language model, or wants to run code of its own without ``trust_remote_code``.
    """
    trained = model.trained
    if trained is not None and (trained.head or trained.kind not in (None, "blockrank")):
        hint = f"use it in the stage {STAGES[trained.kind or 'multivector']}"
        raise ModelError.of(
            "the model gives token vectors, and is no language model", where=model.name, hint=hint
        )
    weights, adapted = model.weights, trained is not None and trained.adapter
    folder = converted(weights) if weights.path.is_file() else weights.path
    for each in {folder, *([model.path] if adapted else [])}:
        check_folder(each, trust_remote_code=trust_remote_code)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with quiet():
            loaded = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=torch.float32 if adapted else getattr(torch, dtype),
                attn_implementation=attention,
                weights_only=True,
                **given,
            )
            tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True, **given)
    except (
        Exception
    ) as error:  # transformers, tokenizers and safetensors each raise what they like over a bad folder
        raise _unreadable(weights.path, error) from error
    if adapted:
        merge(model, loaded)
        loaded.to(getattr(torch, dtype))
    if not tokenizer.is_fast:
        raise ModelError.of(
            "the model's tokeniser cannot tell where its tokens lie in a text",
            where=str(folder),
            hint="take a model with a tokenizer.json",
        )
    tokenizer.model_max_length = int(1e30)  # its warning about long texts: lengths are the stages' affair
    return loaded.to(device).eval(), tokenizer


def converted(model: ResolvedModel) -> Path:
    """Return the folder of a GGUF file's model in transformers' format: float16 safetensors, made on the first call.

    Reading a GGUF file of 135M quantised parameters takes some 15 seconds, the folder under one. The folder lies beside pulled
    models, under a name that the model's fingerprint decides; whoever comes second waits, and finds it.

    Raises:
        ModelError: when the file cannot be read, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    name = fingerprint({"layout": _CONVERTED, "model": model.fingerprint})[:32]
    folder = models_folder() / "converted" / name
    try:
        if not folder.is_dir():  # if it is, nobody has to write
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                _complete(folder, model.path)
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        raise ModelError.of(
            f"the converted model cannot be written: {getattr(error, 'strerror', None) or error}",
            where=str(folder),
            hint="free some space, or set IRKIT_MODELS to a folder that you may write to",
        ) from error
    return folder


def _complete(folder: Path, file: Path) -> None:
    """Convert a file, unless another process has; the folder appears whole or not at all. For one process at a time."""
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        _convert(file, partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **given)
            loaded = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.float32, **given)
    except Exception as error:  # as above
        raise _unreadable(file, error) from error
    loaded.hf_quantizer = None  # the weights are no longer quantised, and must not be saved as such
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    loaded.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _unreadable(path: Path, error: Exception) -> ModelError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    hint = (
        "give a causal language model of transformers; one with code of its own needs trust_remote_code: true"
    )
    return ModelError.of(f"the language model cannot be loaded: {reason}", where=str(path), hint=hint)
