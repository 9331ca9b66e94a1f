"""Checkpoints: weights, the optimizer's state and where training stands, as safetensors and JSON. No pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.core.errors import ModelError
from irkit.core.files import appearing, refusals_told, tensor_errors
from irkit.core.fingerprint import file_sha256

if TYPE_CHECKING:
    import torch

_STATE = "state.json"
_FOLDER = "checkpoint-"


@dataclass
class Standing:
    """Where training stands.

    Attributes:
        step: how many steps are done.
        best: the best validation score so far, and the step that it was at.
        stale: looks since then.
        looks: step -> the scores of that look by task.
        losses: step -> the mean loss since the look before.
        total: the sum of the losses since the last look.
        counted: their number.
        stopped: whether training was stopped early.
        seconds: spent so far, over all runs.
    """

    step: int = 0
    best: float = float("-inf")
    best_step: int = 0
    stale: int = 0
    looks: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    counted: int = 0
    stopped: bool = False
    seconds: float = 0.0


def save_checkpoint(
    folder: Path, standing: Standing, tensors: Mapping[str, Mapping[str, torch.Tensor]], key: str
) -> None:
    """Write a checkpoint below ``folder``, whole or not at all, and remove those before it.

    Args:
        folder: of the run's checkpoints, which no other training uses (:func:`irkit.train.fit.alone`).
        standing: where training stands.
        tensors: by the name of their file: the weights, the best weights, the optimizer's state.
        key: of what is being trained; another run does not take the checkpoint up.

    Raises:
        ReportError: when it cannot be written.
    """
    from safetensors.torch import save_file

    final = folder / f"{_FOLDER}{standing.step:08d}"
    with refusals_told(final), tensor_errors(), appearing(final, replace=True) as partial:
        for name, state in tensors.items():
            save_file(
                {k: v.detach().cpu().contiguous().clone() for k, v in state.items()},
                partial / f"{name}.safetensors",
            )
        digests = {name: file_sha256(partial / f"{name}.safetensors") for name in tensors}
        said = {"key": key, "digests": digests, "standing": asdict(standing)}
        (partial / _STATE).write_text(json.dumps(said, allow_nan=True), encoding="utf-8")
    for other in [*folder.glob(f"{_FOLDER}*"), *folder.glob(f".{_FOLDER}*")]:  # hidden: a killed process's
        if other.name != final.name:
            shutil.rmtree(other, ignore_errors=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint below ``folder``."""
    return any(folder.glob(f"{_FOLDER}*"))


def foreign_step(folder: Path, key: str) -> int:
    """Return the step of the latest checkpoint below ``folder`` where it is another training's, else 0. One of step 0 holds a look
    and nothing learned: it may go.
    """
    for path in sorted(folder.glob(f"{_FOLDER}*"), reverse=True):
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # a damaged one is told of where it is loaded
            said = json.loads((path / _STATE).read_text(encoding="utf-8"))
            return int(said["standing"]["step"]) if said["key"] != key else 0
    return 0


def load_checkpoint(folder: Path, key: str) -> tuple[Standing, dict[str, dict[str, Any]]] | None:
    """Return the latest checkpoint below ``folder``; None where there is none of this key.

    Raises:
        ModelError: when it is damaged.
    """
    from safetensors.torch import load_file

    for path in sorted(folder.glob(f"{_FOLDER}*"), reverse=True):
        try:
            said = json.loads((path / _STATE).read_text(encoding="utf-8"))
            if said["key"] != key:
                return None
            for name, digest in said["digests"].items():
                if file_sha256(path / f"{name}.safetensors") != digest:
                    raise ValueError(f"{name}.safetensors is not as it was written")
            tensors = {name: load_file(path / f"{name}.safetensors") for name in said["digests"]}
            return Standing(**said["standing"]), tensors
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = f"remove {folder} to start anew"
            raise ModelError.of(f"the checkpoint is damaged: {error}", where=str(path), hint=hint) from error
    return None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of an optimizer as tensors by name, ``<parameter>/<quantity>``."""
    state = optimizer.state_dict()["state"]
    return {f"{number}/{name}": value for number, own in state.items() for name, value in own.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimizer the state that :func:`optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
