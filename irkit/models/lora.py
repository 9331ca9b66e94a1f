"""Adapters of peft, such as LoRA (Hu et al., 2021, arXiv 2106.09685): put beside a model's weights to be trained, written in peft's
format, and added to the weights of the base model.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from irkit.core.errors import DependencyError, ModelError
from irkit.models.resolve import ResolvedModel
from irkit.models.trained import ADAPTER, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any

NAME = "default"
"""peft's name of the adapter that is trained."""

_PREFIX = "base_model.model."
_LAYER = re.compile(r"\.layers\.(\d+)\.")
_TASKS = (None, "CAUSAL_LM", "FEATURE_EXTRACTION")
_AGAIN = "fetch the adapter again, and the base model that it names, or train the adapter anew"


@dataclass(frozen=True, eq=False)
class Updates:
    """Updates of low rank beside matrices of a model: W' x = W x + alpha / rank * B A x (Hu et al., section 4.1).

    Attributes:
        weights: A ``[rank, inputs]`` and B ``[outputs, rank]`` of every matrix, ``float32``, by their names in peft's files.
        config: of peft.
    """

    weights: dict[str, Tensor]
    config: Any

    @classmethod
    def inject(
        cls,
        model: Any,
        targets: Sequence[str],
        rank: int,
        alpha: float,
        seed: int,
        *,
        task: Literal["CAUSAL_LM", "FEATURE_EXTRACTION"],
        dropout: float = 0.0,
    ) -> Updates:
        """Freeze a model, and have peft put updates beside its matrices, in place; they change nothing at first.

        Args:
            model: of transformers.
            targets: the names of linear modules in it.
            rank: of the updates.
            alpha: they are scaled by alpha / rank.
            seed: of A, whatever the device; B is zero.
            task: peft's word for what the model is for.
            dropout: of what goes into the updates while the model is in training mode.

        Raises:
            DependencyError: when peft is not installed.
        """
        import torch

        peft = _peft(type(model).__name__)

        def config() -> Any:
            return peft.LoraConfig(
                r=rank,
                lora_alpha=cast(int, alpha),
                lora_dropout=dropout,
                target_modules=list(targets),
                task_type=task,
            )

        model.requires_grad_(False)
        device = next(model.parameters()).device
        with torch.random.fork_rng():
            peft.inject_adapter_in_model(config(), model, NAME)
        draws = torch.Generator().manual_seed(seed)
        weights: dict[str, Tensor] = {}
        for target in targets:
            module = model.get_submodule(target)
            for part in ("lora_A", "lora_B"):
                each = getattr(module, part)[NAME].weight
                start = torch.zeros(each.shape)
                if part == "lora_A":
                    torch.nn.init.kaiming_uniform_(start, a=5**0.5, generator=draws)  # as peft begins
                each.data = start.to(device)
                each.requires_grad_(True)
                weights[f"{_PREFIX}{target}.{part}.weight"] = each
        return cls(weights, config())  # not the injected one, whose names peft shortens

    def save(self, folder: Path, base: str) -> None:
        """Write the updates in float16, as peft reads them.

        Args:
            folder: exists.
            base: the name of the model that they are of.
        """
        import torch
        from safetensors.torch import save_file

        self.config.base_model_name_or_path, self.config.inference_mode = base, True
        # a set, which peft writes in any order
        self.config.target_modules = sorted(self.config.target_modules)
        self.config.save_pretrained(str(folder))
        half = {
            name: each.detach().to("cpu", torch.float16).contiguous() for name, each in self.weights.items()
        }
        save_file(half, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def merge(model: ResolvedModel, loaded: Any) -> None:
    """Add an adapter's updates to the weights of its base model, in place: W + s B A, and peft's layers are gone.

    The base model must be in float32, and is cast to the stage's precision afterwards: in bfloat16 most of an update is smaller
    than half a unit in the last place of the weight, and adding it there would round it off twice. Only safetensors are read.
    Where peft would warn of weights that are missing or left over, this is an error. An adapter that irkit trained may have updates
    for the first layers only: those above were not part of the training.

    Args:
        model: the adapter.
        loaded: its base model, of transformers, in float32.

    Raises:
        DependencyError: when peft is not installed.
        ModelError: when the adapter is not there as safetensors, cannot be merged, or does not fit the model.
    """
    weights = model.path / ADAPTER_WEIGHTS
    if not weights.is_file():
        if (model.path / "adapter_model.bin").is_file():
            message = "the adapter's weights are pickled, and a pickle can run code"
            hint = f"save it as {ADAPTER_WEIGHTS}: peft does so with save_pretrained(..., safe_serialization=True)"
            raise ModelError.of(message, where=str(model.path), hint=hint)
        raise ModelError.of("the adapter has no weights", where=str(weights), hint=_AGAIN)
    peft = _peft(model.name)
    try:
        saved = _shapes(weights)
        scores = type(loaded).__name__.endswith("ForSequenceClassification")  # a cross-encoder
        config = _config(peft, model, saved, (*_TASKS, "SEQ_CLS") if scores else _TASKS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is checked below
            both = peft.PeftModel.from_pretrained(
                loaded, str(model.path), config=config, is_trainable=False, low_cpu_mem_usage=False
            )
        wanted = peft.get_peft_model_state_dict(both, save_embedding_layers=False)
        _check(saved, {name: tuple(each.shape) for name, each in wanted.items()})
        merged = both.merge_and_unload(safe_merge=True)
    except ModelError:
        raise
    except Exception as error:  # peft, torch and safetensors each raise what they like over a bad folder
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _unfit(model, ": ".join(lines[:2]) or type(error).__name__) from error
    if merged is not loaded:  # what is merged elsewhere would be lost
        raise _unfit(model, "peft put another model in the place of the base")


def _peft(where: str) -> Any:
    """Import peft.

    Raises:
        DependencyError: when it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        hint = "install it with: pip install peft"
        raise DependencyError.of("adapters need peft", where=where, hint=hint) from error
    return peft


def _config(peft: Any, model: ResolvedModel, saved: Mapping[str, object], tasks: Collection[object]) -> Any:
    """Read an adapter's configuration.

    Args:
        peft: the library.
        model: the adapter.
        saved: its weights.
        tasks: peft's words for what the base model is for.

    Raises:
        ModelError: when its updates are none of weights, or it belongs to a model for another task.
    """
    config = peft.PeftConfig.from_pretrained(str(model.path))
    kind, task = (getattr(each, "value", each) for each in (config.peft_type, config.task_type))
    if config.is_prompt_learning or task not in tasks:
        told = f"of the kind {kind} for the task {task}" if task else f"of the kind {kind}"
        hint = "take a LoRA adapter of a causal language model, an encoder or a cross-encoder"
        raise ModelError.of(f"an adapter {told} cannot be merged", where=str(model.path / ADAPTER), hint=hint)
    ours = model.trained is not None and model.trained.kind == "blockrank"
    if ours and not isinstance(config.target_modules, str) and config.layers_to_transform is None:
        layers = [int(found[1]) for name in saved if (found := _LAYER.search(name))]
        config.layers_to_transform = list(range(max(layers) + 1)) if layers else None
    return config


def _shapes(file: Any) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def _check(saved: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Make sure that the file has what the model wants, and nothing else.

    Raises:
        ValueError: when it does not.
    """
    for names, what in (
        (wanted.keys() - saved.keys(), "are missing from the adapter"),
        (saved.keys() - wanted.keys(), "of the adapter have no place in the model"),
    ):
        if names:
            raise ValueError(f"{_count(names)} {what}")


def _count(names: Collection[str]) -> str:
    return f"{len(names)} weights, such as {min(names)},"


def _unfit(model: ResolvedModel, reason: str) -> ModelError:
    base = model.base.name if model.base else model.name
    return ModelError.of(f"the adapter does not fit {base}: {reason}", where=str(model.path), hint=_AGAIN)
