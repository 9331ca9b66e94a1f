"""What the folder of a saved LexSemBridge gate says: ``gate.json``, read without torch.

A gate is two files: ``gate.safetensors``, its weights, and ``gate.json``, everything else that they mean something with. It belongs
to one model: to its tokeniser, whose ids are the rows of the weights, and to its vectors, which the weights were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from irkit.core.errors import ModelError
from irkit.core.fingerprint import canonical, file_sha256, fingerprint
from irkit.models.resolve import ResolvedModel

FORMAT = "irkit lexsembridge 1"
CONFIG, WEIGHTS = "gate.json", "gate.safetensors"

Method = Literal["slr", "llr", "clr"]
Form = Literal["paper", "code"]
Activation = Literal["softmax", "scaled-softmax", "sigmoid", "tanh"]
Statistics = Literal["none", "idf"]
GateSide = Literal["query", "both"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "form": get_args(Form),
    "activation": get_args(Activation),
    "statistics": get_args(Statistics),
    "side": get_args(GateSide),
}
_HINT = "train the gate again, or give the folder that `irkit train` wrote"


@dataclass(frozen=True)
class GateSpec:
    """What a gate is, but for its weights.

    Attributes:
        method: how the tokens of a text are weighted: ``slr`` alike, ``llr`` as learned, ``clr`` as a masked language model says.
        form: of the formula: the paper's, or that of the code that its authors released.
        activation: what makes a gate of the logits ``W w + b``.
        statistics: what the collection adds to SLR's weights: nothing, or each token's idf.
        side: of which texts it was trained to modulate the vectors.
        vocabulary: how many token ids there are: rows of W.
        dim: of the vectors that it modulates: columns of W.
        hidden: of the token vectors that LLR looks at.
        skipped: ids of tokens that never have a weight in SLR and LLR's code form: special ones.
        tokenizer: fingerprint of the tokeniser's tokens and their ids.
        model: name of the encoder, as written when the gate was made.
        fingerprint: of the encoder's files.
        mlm: name of the masked language model that CLR asks; None for the other methods.
        mlm_fingerprint: of its files.
        trained_on: what the trainer wrote down of its data and settings, as JSON values; empty for an untrained gate.
    """

    method: Method
    form: Form
    activation: Activation
    statistics: Statistics
    side: GateSide
    vocabulary: int
    dim: int
    hidden: int
    skipped: tuple[int, ...]
    tokenizer: str
    model: str
    fingerprint: str
    mlm: str | None = None
    mlm_fingerprint: str | None = None
    trained_on: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: naming the field.
        """
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}, and not one of {', '.join(choices)}")
        for name in ("vocabulary", "dim", "hidden"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}, and not a positive whole number")
        if any(type(each) is not int or not 0 <= each < self.vocabulary for each in self.skipped):
            raise ValueError("skipped holds what is no token id")
        if self.statistics != "none" and self.method != "slr":
            raise ValueError(f"statistics: {self.statistics} is an input of slr, and not of {self.method}")
        if (self.method == "clr") != (self.mlm is not None):
            raise ValueError("clr asks a masked language model, and the other methods ask none")

    @property
    def dense(self) -> bool:
        """Whether the whole vocabulary has weights, and not only the tokens of the text."""
        return self.method == "clr" or (self.method, self.form) == ("llr", "paper")

    def told(self) -> str:
        """Return the choices in a few words, for people."""
        more = [self.statistics] if self.statistics != "none" else []
        return ", ".join([self.method, self.form, self.activation, *more])

    def with_training(self, trained_on: Mapping[str, Any]) -> GateSpec:
        """Return the same, with what it was trained on."""
        return replace(self, trained_on=trained_on)

    def require_model(self, model: str, fingerprint: str, where: str) -> None:
        """Refuse another encoder than the one whose vectors the gate was made for.

        Raises:
            ModelError: when its files are others.
        """
        if fingerprint != self.fingerprint:
            message = f"the gate was made for the model {self.model!r}, and {model!r} is another one, or has changed since"
            raise ModelError.of(
                message, where=where, hint=f"set model: {self.model}, or train a gate for this model"
            )


def token_fingerprint(tokens: Mapping[str, int]) -> str:
    """Return the fingerprint of a tokeniser's tokens and their ids: ``tokenizer.get_vocab()``."""
    return fingerprint(sorted(tokens.items(), key=lambda item: (item[1], item[0])))


def gate_spec(
    loaded: Any,
    model: ResolvedModel,
    *,
    method: Method = "slr",
    form: Form = "paper",
    activation: Activation = "softmax",
    statistics: Statistics = "none",
    side: GateSide = "query",
    mlm: ResolvedModel | None = None,
) -> GateSpec:
    """Describe a gate for a model.

    Args:
        loaded: the model, a SentenceTransformer.
        model: the same, as it was found.
        method: of the token weights.
        form: of the formula.
        activation: of the gate.
        statistics: ``idf`` for SLR.
        side: whose vectors it is trained to modulate.
        mlm: the masked language model for CLR; the model itself unless given.

    Raises:
        ModelError: when the model has no tokens or no token vectors.
        ValueError: for choices that do not go together.
    """
    transformer: Any = getattr(loaded, "transformers_model", None)
    tokeniser: Any = getattr(loaded, "tokenizer", None)
    if transformer is None or not hasattr(tokeniser, "get_vocab"):
        hint = "take a SentenceTransformer with a transformer in it, such as minilm"
        raise ModelError.of("the model has no token vectors to make a gate of", where=model.name, hint=hint)
    of_code = (tokeniser.cls_token_id, tokeniser.pad_token_id, tokeniser.unk_token_id)
    skipped = tokeniser.all_special_ids if form == "paper" else [each for each in of_code if each is not None]
    asked = (mlm or model) if method == "clr" else None
    return GateSpec(
        method=method,
        form=form,
        activation=activation,
        statistics=statistics,
        side=side,
        vocabulary=int(transformer.get_input_embeddings().weight.shape[0]),
        dim=int(loaded.get_embedding_dimension()),
        hidden=int(transformer.config.hidden_size),
        skipped=tuple(sorted({int(each) for each in skipped})),
        tokenizer=token_fingerprint(tokeniser.get_vocab()),
        model=model.name,
        fingerprint=model.fingerprint,
        mlm=asked.name if asked else None,
        mlm_fingerprint=asked.fingerprint if asked else None,
    )


def read_spec(folder: Path) -> GateSpec:
    """Read ``gate.json``, and see that the weights are there. Loads nothing.

    Raises:
        ModelError: when the folder, or a file, is missing or damaged, or of another format.
    """
    if not folder.is_dir():
        hint = "give the folder that `irkit train` wrote; a relative path starts from the workspace"
        raise ModelError.of("there is no such folder of a gate", where=str(folder), hint=hint)
    file = folder / CONFIG
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError.of(
            f"the gate cannot be read: {error.strerror}", where=str(file), hint=_HINT
        ) from error
    except ValueError as error:
        raise ModelError.of(f"the file is damaged: {error}", where=str(file), hint=_HINT) from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        found = said.get("format") if isinstance(said, dict) else None
        message = f"the file has the format {found!r}, and not {FORMAT!r}"
        raise ModelError.of(message, where=str(file), hint=_HINT)
    names = {each.name for each in fields(GateSpec)}
    try:
        given = {name: value for name, value in said.items() if name in names}
        spec = GateSpec(**{**given, "skipped": tuple(given.get("skipped", ()))})
    except (TypeError, ValueError) as error:
        raise ModelError.of(f"the file is damaged: {error}", where=str(file), hint=_HINT) from error
    if not (folder / WEIGHTS).is_file():
        raise ModelError.of("the weights of the gate are missing", where=str(folder / WEIGHTS), hint=_HINT)
    return spec


def gate_fingerprint(folder: Path) -> str:
    """Return the fingerprint of a saved gate: of ``gate.json``, which has the digest of the weights.

    Raises:
        ModelError: as :func:`read_spec`.
    """
    read_spec(folder)
    return file_sha256(folder / CONFIG)


def require_whole(folder: Path) -> None:
    """Refuse weights that are not those that were saved along with ``gate.json``.

    Raises:
        ModelError: when the file was changed, or cannot be read.
    """
    file = folder / WEIGHTS
    try:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("weights")
        sound = said == file_sha256(file)
    except OSError as error:
        raise ModelError.of(
            f"the file cannot be read: {error.strerror}", where=str(file), hint=_HINT
        ) from error
    if not sound:
        raise ModelError.of("the file is not as it was saved", where=str(file), hint=_HINT)


def spec_text(spec: GateSpec, weights: Path) -> str:
    """Return the text of ``gate.json``.

    Args:
        spec: what the gate is.
        weights: the file of its weights, already written.
    """
    said = json.loads(canonical({**asdict(spec), "skipped": list(spec.skipped)}))
    return json.dumps({"format": FORMAT, **said, "weights": file_sha256(weights)}, indent=1) + "\n"
