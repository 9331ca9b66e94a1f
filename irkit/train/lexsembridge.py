"""``kind: lexsembridge``: a gate that modulates a bi-encoder's vectors (:mod:`irkit.models.lexsembridge`), by InfoNCE.

The encoder is frozen (its hidden states are worked out once) or trained along with the gate. With ``gate: false`` the same training
goes without a gate, for the ablation; it needs an encoder that is trained. "Gate at training only" is no training of its own: use
``model/`` of what was trained with the gate, without the gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, cast

from pydantic import BaseModel, PositiveFloat, PositiveInt, model_validator

from irkit.models.lexsembridge_files import Activation, Form, GateSide, Method, Statistics
from irkit.pipeline.options import OptionError
from irkit.train.bi_encoder import BiEncoderOptions, open_bi_encoder
from irkit.train.examples import Examples
from irkit.train.gate_learners import FrozenLearner, UnfrozenLearner
from irkit.train.kinds import Kind, find_model
from irkit.train.learner import Contrastive, Surroundings
from irkit.train.recipe import Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder
    from irkit.models.lexsembridge import Gate
    from irkit.models.resolve import ResolvedModel


class LexSemBridgeOptions(BiEncoderOptions):
    """The options of a gate and of the encoder before it."""

    gate: bool = True
    """Whether there is a gate at all."""
    method: Method = "slr"
    form: Form = "paper"
    activation: Activation = "softmax"
    statistics: Statistics = "none"
    """``idf`` for slr; counted over the documents of the training examples while training, over the collection in search."""
    side: GateSide = "query"
    mlm: str | None = None
    """The masked language model of clr; the encoder itself unless given."""
    frozen: bool = True
    """Whether the encoder stays as it is."""
    encoder_lr: PositiveFloat = 1e-5
    """The learning rate of an encoder that is trained; ``training: {lr: ...}`` is the gate's."""
    query_tokens: PositiveInt = 64
    """Tokens of a query that a trained encoder reads in training; never more than its own limit."""
    document_tokens: PositiveInt = 256
    """Tokens of a document, likewise."""
    autocast: Literal["none", "bfloat16"] = "none"
    """The arithmetic of an encoder that is trained."""

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if self.frozen and not self.gate:
            raise OptionError("a frozen encoder without a gate has nothing to train", "set frozen: false")
        return self


class LexSemBridgeKind(Kind):
    """Gates, and the encoders before them."""

    Options = LexSemBridgeOptions
    models = ("model", "mlm")

    @classmethod
    def open(cls, recipe: Recipe, examples: Examples, place: Surroundings) -> Contrastive:
        """Load the encoder and make an untrained gate."""
        options = cast(LexSemBridgeOptions, recipe.options)
        encoder, model = open_bi_encoder(options, place)
        gate = _new_gate(options, encoder, model, place, recipe.seed) if options.gate else None
        kind = FrozenLearner if options.frozen else UnfrozenLearner
        return kind(recipe, examples, place, encoder, model, gate)

    @classmethod
    def reads(cls, options: BaseModel, place: Surroundings) -> str:
        """Return the fingerprint of the encoder."""
        return find_model(cast(LexSemBridgeOptions, options).model, place).fingerprint


def _new_gate(
    options: LexSemBridgeOptions, encoder: Encoder, model: ResolvedModel, place: Surroundings, seed: int
) -> Gate:
    from irkit.models.lexsembridge import Gate
    from irkit.models.lexsembridge_files import gate_spec
    from irkit.models.resolve import resolve

    mlm = None
    if options.method == "clr":
        mlm = resolve(options.mlm, place.base) if options.mlm else model
    spec = gate_spec(
        encoder.loaded,
        model,
        method=options.method,
        form=options.form,
        activation=options.activation,
        statistics=options.statistics,
        side=options.side,
        mlm=mlm,
    )
    gate: Gate = Gate(spec, seed)
    if mlm is not None:
        from irkit.models.masked_lm import MaskedLM

        gate.attach(MaskedLM(mlm, place.device))
    gate.to(place.device)
    return gate
