"""The published format of ColBERTer: a configuration, a state dict, a tokeniser. Read safely, checked name by name.

The folder of ``sebastian-hofstaetter/colberter-128-32-msmarco`` and of its Uni variant holds ``config.json`` (the
dimensions and switches below), ``pytorch_model.bin`` (all weights) and ``tokenizer.json``. Of the language model it
holds only the name; a name that transformers' own defaults describe needs no other file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.core.errors import ModelError
from irkit.models.resolve import resolve
from irkit.models.safety import check_folder, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_KEYS = ("compression_dim", "retrieval_compression_dim")
_DEFAULTS = {
    "distilbert-base-uncased": "distilbert",
    "distilbert/distilbert-base-uncased": "distilbert",
    "bert-base-uncased": "bert",
    "google-bert/bert-base-uncased": "bert",
}
"""Language models whose configuration is the default of their class in transformers."""
_SHOWN = 6
"""Names that an error lists."""


@dataclass(frozen=True)
class Published:
    """What a checkpoint's configuration says.

    Attributes:
        folder: where it lies.
        backbone: the name of the language model.
        sentence_dim: of the [CLS] vector after ``compressor_retrieval``; None: as the language model gives it.
        token_dim: of the token vectors after ``compressor``; None: as the language model gives them.
        mini_dim: of the word vectors after ``mini_compressor`` (the Uni variant: 1); None: there is none.
        gated: whether ``stop_word_reducer`` weighs and drops a document's words.
        exact: whether a query's word meets the same word of a document only.
    """

    folder: Path
    backbone: str
    sentence_dim: int | None
    token_dim: int | None
    mini_dim: int | None
    gated: bool
    exact: bool


def is_colberter(folder: Path) -> bool:
    """Whether a folder holds a ColBERTer checkpoint.

    Raises:
        ModelError: when its ``config.json`` cannot be read.
    """
    config = _config(folder)
    return all(key in config for key in _KEYS)


def read_config(folder: Path) -> Published:
    """Read what the checkpoint says of itself.

    Raises:
        ModelError: when the folder holds no ColBERTer, or one without whole words.
    """
    config, file = _config(folder), str(folder / "config.json")
    absent = [key for key in (*_KEYS, "bert_model") if key not in config]
    if absent:
        hint = "a ColBERTer checkpoint states bert_model, compression_dim and retrieval_compression_dim"
        raise ModelError.of(f"the model is no ColBERTer: it lacks {', '.join(absent)}", where=file, hint=hint)
    if not config.get("aggregate_unique_ids"):
        hint = "take a checkpoint with aggregate_unique_ids: true, such as colberter-128-32-msmarco"
        raise ModelError.of(
            "the checkpoint was trained on word pieces, not on whole words", where=file, hint=hint
        )

    def dim(key: str) -> int | None:
        value = config.get(key, -1)
        if not isinstance(value, int) or isinstance(value, bool) or value == 0:
            raise ModelError.of(f"{key} is {value!r}, not a number of dimensions", where=file)
        return value if value > 0 else None

    return Published(
        folder,
        str(config["bert_model"]),
        dim("retrieval_compression_dim"),
        dim("compression_dim"),
        dim("second_compress_dim"),
        bool(config.get("use_contextualized_stopwords")),
        bool(config.get("compress_to_exact_mini_mode")),
    )


def load_module(published: Published) -> Any:
    """Build the torch module and fill it with the checkpoint's weights, in float32 on the CPU.

    Raises:
        ModelError: when a file is missing or damaged, or a weight is missing, left over, or of another shape.
    """
    import torch
    from transformers import AutoModel

    check_folder(published.folder, trust_remote_code=False)
    module = torch.nn.Module()
    module.bert_model = AutoModel.from_config(_backbone_config(published))
    module.score_merger = torch.nn.Parameter(torch.zeros(1))
    hidden = int(module.bert_model.config.hidden_size)
    words = published.token_dim or hidden
    heads = {
        "compressor": (hidden, published.token_dim),
        "compressor_retrieval": (hidden, published.sentence_dim),
        "stop_word_reducer": (words, 1 if published.gated else None),
        "mini_compressor": (words, published.mini_dim),
    }
    for name, (width, out) in heads.items():
        if out is not None:
            module.add_module(name, torch.nn.Linear(width, out))
    weights, file = _weights(published.folder)
    _check_weights(weights, module.state_dict(), file)
    module.load_state_dict(weights)
    return module.eval()


def load_tokeniser(published: Published) -> Tokenizer:
    """Load the tokeniser that lies beside the weights, else that of the language model.

    Raises:
        ModelError: when there is none, or it cannot be read.
    """
    from tokenizers import Tokenizer

    folder = published.folder
    if not (folder / "tokenizer.json").is_file() and published.backbone not in _DEFAULTS:
        folder = _backbone_folder(published)
    file = folder / "tokenizer.json"
    if not file.is_file():
        hint = f"save the tokeniser of {published.backbone} there; the published checkpoint comes with one"
        raise ModelError.of("the model has no tokenizer.json", where=str(published.folder), hint=hint)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises a bare Exception
        message = f"the tokeniser cannot be read: {error}"
        raise ModelError.of(message, where=str(file), hint="fetch the model again") from error


def _config(folder: Path) -> dict[str, Any]:
    read = read_json(folder / "config.json")
    return read if isinstance(read, dict) else {}


def _backbone_config(published: Published) -> Any:
    from transformers import AutoConfig

    if published.backbone in _DEFAULTS and not _inside(published):
        return AutoConfig.for_model(_DEFAULTS[published.backbone])
    folder = _backbone_folder(published)
    check_folder(folder, trust_remote_code=False)
    try:
        return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        message = f"the configuration of {published.backbone} cannot be read: {reason}"
        raise ModelError.of(message, where=str(folder), hint="fetch the model again") from error


def _backbone_folder(published: Published) -> Path:
    """Return the language model's folder: inside the checkpoint's, else one that :func:`resolve` finds."""
    return _inside(published) or resolve(published.backbone, published.folder).path


def _inside(published: Published) -> Path | None:
    folder = (published.folder / published.backbone).resolve()
    inside = folder.is_relative_to(published.folder.resolve()) and (folder / "config.json").is_file()
    return folder if inside else None


def _weights(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the state dict: safetensors, else a pickle read by torch's unpickler for tensors alone."""
    import torch
    from safetensors.torch import load_file

    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if not safe.is_file() and not pickled.is_file():
        hint = "fetch the model again, or save its state dict as model.safetensors"
        raise ModelError.of("the model has no weights", where=str(folder), hint=hint)
    file = safe if safe.is_file() else pickled
    try:
        read = load_file(file) if file is safe else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and pickle each raise what they like over a bad file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        hint = "fetch the model again; a pickle may hold tensors only"
        raise ModelError.of(f"the weights cannot be read: {reason}", where=str(file), hint=hint) from error
    if not isinstance(read, dict):
        raise ModelError.of("the file holds no state dict", where=str(file), hint="fetch the model again")
    # a constant that older transformers wrote with the weights
    return {name: value for name, value in read.items() if not name.endswith("position_ids")}, file


def _check_weights(given: dict[str, Any], wanted: dict[str, Any], file: Path) -> None:
    """Raise ModelError unless names and shapes are exactly those of the module."""
    shapes = {
        name: f"{name} is {list(given[name].shape)}, not {list(wanted[name].shape)}"
        for name in sorted(given.keys() & wanted.keys())
        if given[name].shape != wanted[name].shape
    }
    faults = [
        f"{label}: {_some(names)}"
        for label, names in (
            ("missing", sorted(wanted.keys() - given.keys())),
            ("unexpected", sorted(given.keys() - wanted.keys())),
            ("of another shape", list(shapes.values())),
        )
        if names
    ]
    if faults:
        hint = "config.json and the weights must come from the same checkpoint"
        raise ModelError.of(f"the weights do not fit: {'; '.join(faults)}", where=str(file), hint=hint)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
