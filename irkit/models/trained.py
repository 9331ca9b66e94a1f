"""What a folder that training made says of itself: what it is for, and which base model its updates belong to.

Four files tell, in any combination::

    irkit_model.json               written by ``irkit train``: kind, base model with its fingerprint, options
    adapter_config.json            of peft, with adapter_model.safetensors: low-rank updates (LoRA) of the base model
    token_head.safetensors         "weight" [dim, hidden]: a projection of the base model's token vectors
    colberter_heads.safetensors    ColBERTer's heads on top of the base model

A folder with ``adapter_config.json`` alone is somebody else's adapter, as there are many on the hub. A folder with
``irkit_model.json`` and no base holds a whole model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irkit.core.errors import ModelError
from irkit.models.safety import read_json

DESCRIPTION, REPORT = "irkit_model.json", "report.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HEAD = "token_head.safetensors"

WHAT = "trained model"
FORMAT = 1
"""Of ``irkit_model.json``: counts up when an older irkit could no longer read it."""
STAGES = {"blockrank": "blockrank", "multivector": "maxsim, muvera or xtr", "colberter": "colberter"}
"""By kind, the stages that a model was trained for."""
QUERY_SIDE = {"adapter.json": ("adapter", "path"), "gate.json": ("lexsembridge", "gate")}
"""By the file that describes it, the stage that what irkit trained for queries' vectors is for, and the option that names it."""

_AGAIN = "train the model again, or copy its folder again"


@dataclass(frozen=True)
class Trained:
    """What a folder says of itself.

    Attributes:
        kind: of :data:`STAGES`; None for an adapter that irkit did not train.
        base: the name of the model that the updates belong to; None for a whole model.
        base_fingerprint: of that model, where it is stated.
        options: of the kind; for ``blockrank`` the stage's defaults.
        adapter: whether there are updates in peft's format.
        head: whether there is a projection of token vectors.
    """

    kind: str | None
    base: str | None
    base_fingerprint: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: bool = False
    head: bool = False


def describe(folder: Path, kind: str, base: tuple[str, str] | None, options: Mapping[str, Any]) -> None:
    """Write ``irkit_model.json``.

    Args:
        folder: where to.
        kind: of :data:`STAGES`.
        base: the base model's name, as written in the recipe, and its fingerprint; None for a whole model.
        options: of the kind, JSON values.
    """
    stated = None if base is None else {"model": base[0], "fingerprint": base[1]}
    said = {"irkit": WHAT, "format": FORMAT, "kind": kind, "base": stated, "options": dict(options)}
    (folder / DESCRIPTION).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def read_trained(folder: Path) -> Trained | None:
    """Read what a folder says of itself; None where it is an ordinary model, or no folder. Reads no weights.

    A model of sentence-transformers with an adapter inside is an ordinary one: that library puts the two together.

    Raises:
        ModelError: when a file cannot be read, is damaged, or of a later format.
    """
    stated, adapter = (folder / DESCRIPTION).is_file(), (folder / ADAPTER).is_file()
    if not stated and (not adapter or (folder / "modules.json").is_file()):
        return None
    theirs = read_json(folder / ADAPTER) if adapter else {}
    named = theirs.get("base_model_name_or_path") if isinstance(theirs, dict) else None
    if named and theirs.get("revision") and "@" not in named and not stated:
        named = f"{named}@{theirs['revision']}"
    head = (folder / HEAD).is_file()
    if not stated:
        if not isinstance(named, str):
            hint = "set base_model_name_or_path to the name of a model, or to its folder"
            raise ModelError.of(
                "the adapter does not name its base model", where=str(folder / ADAPTER), hint=hint
            )
        return Trained(None, named, adapter=True, head=head)
    said = read_json(folder / DESCRIPTION)
    try:
        if said["irkit"] != WHAT or said["kind"] not in STAGES or said["format"] != FORMAT:
            raise _unknown(folder, said)
        base, options = said["base"], dict(said["options"])
        name, known = (base["model"], base["fingerprint"]) if base else (named, None)
    except (KeyError, TypeError, ValueError) as error:
        message = f"the description is damaged: {error}"
        raise ModelError.of(message, where=str(folder / DESCRIPTION), hint=_AGAIN) from error
    return Trained(said["kind"], name, known, options, adapter, head)


def _unknown(folder: Path, said: Mapping[str, Any]) -> ModelError:
    message = f"this irkit knows no {said['irkit']!r} of kind {said['kind']!r} in format {said['format']!r}"
    hint = f"update irkit; this one reads format {FORMAT} of the kinds {', '.join(STAGES)}"
    return ModelError.of(message, where=str(folder / DESCRIPTION), hint=hint)
