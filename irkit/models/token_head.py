"""A trained projection of an encoder's token vectors: t -> W t, W of ``[dim, hidden]``, in ``token_head.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError
from irkit.models.resolve import ResolvedModel
from irkit.models.trained import HEAD

_AGAIN = "train the model again, or copy its folder again"


def put_on(loaded: Any, model: ResolvedModel) -> None:
    """Have a loaded bi-encoder give projected token vectors, in place; what made one vector of them is taken off.

    Args:
        loaded: of sentence-transformers.
        model: a resolved model with a projection.

    Raises:
        ModelError: when the projection is damaged, or not for vectors of this size.
    """
    from sentence_transformers.base.modules import Dense
    from torch import nn

    weight = _read(model.path / HEAD)
    last = max(
        (place for place, module in enumerate(loaded) if _gives_tokens(module)),
        default=None,
    )
    if last is None:
        raise ModelError.of("the base model has no token vectors", where=model.weights.name, hint=_AGAIN)
    hidden = int(loaded[last].get_embedding_dimension())
    if weight.shape[1] != hidden:
        message = f"the projection is for vectors of {weight.shape[1]} dimensions, {model.weights.name} gives {hidden}"
        raise ModelError.of(message, where=str(model.path / HEAD), hint=_AGAIN)
    head = Dense(
        hidden,
        len(weight),
        bias=False,
        activation_function=nn.Identity(),
        module_input_name="token_embeddings",
        module_output_name="token_embeddings",
    )
    head.linear.weight.data = weight.to(loaded.device)
    while len(loaded) > last + 1:
        del loaded[-1]
    loaded.append(head)


def _gives_tokens(module: Any) -> bool:
    return getattr(module, "module_output_name", None) == "token_embeddings" and hasattr(
        module, "get_embedding_dimension"
    )


def _read(file: Path) -> Any:
    """Return the matrix of the projection, a float32 tensor ``[dim, hidden]``.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weight = load_file(file)["weight"].float()
        if weight.ndim != 2 or 0 in weight.shape or not weight.isfinite().all():
            raise ValueError("it holds no matrix of finite numbers")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        reason = "it has no tensor 'weight'" if isinstance(error, KeyError) else str(error)
        raise ModelError.of(f"the projection is damaged: {reason}", where=str(file), hint=_AGAIN) from error
    return weight
