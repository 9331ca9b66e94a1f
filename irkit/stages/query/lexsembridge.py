"""LexSemBridge: modulate the query's vector by its own tokens, in front of any dense index; the documents stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from irkit.core.errors import ConfigError, IrkitError, ModelError, Problem
from irkit.core.queries import Queries
from irkit.models.lexsembridge_files import (
    Activation,
    Form,
    GateSpec,
    Method,
    Statistics,
    gate_fingerprint,
    gate_spec,
    read_spec,
)
from irkit.models.resolve import ResolvedModel, identify, resolve
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.forms import told, with_vectors
from irkit.stages.query.vectors import VectorOptions, VectorSpace
from irkit.stages.sentence_vectors import scaled
from irkit.stages.vocabulary import open_token_frequencies, rarity, token_frequencies_recipe
from irkit.store import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from irkit.models.encoder import Encoder
    from irkit.models.lexsembridge import Gate
    from irkit.models.lexsembridge_encoder import GatedEncoder

_UNTRAINED = ("method", "form", "activation", "statistics", "mlm", "seed")


@dataclass(frozen=True)
class LexSemBridgeState:
    """What ``prepare`` opens: the encoder with the gate behind it, and where its vectors mean something."""

    encoder: GatedEncoder
    space: VectorSpace


class LexSemBridge(VectorOptions, QueryStage):
    """Give each query its modulated vector: ``q' = g (.) q``, with a gate g that the query's tokens decide; see
    :mod:`irkit.models.lexsembridge` for the formulas. ``dense`` after it searches with that, in the index that it has anyway.

    It modulates what the encoder makes of the query's text, and replaces a vector that a stage before gave the query: gates are
    trained on the encoder's vectors.

    Without ``gate`` the gate is untrained, and hardly changes a vector: it is there to compare with.
    """

    takes: ClassVar[tuple[str, ...]] = ("text",)

    gate: str | None = None
    """The folder of a trained gate; a relative path starts from the workspace. An untrained gate unless given."""
    method: Method | None = None
    """Of an untrained gate: how tokens are weighted: ``slr`` (unless given) alike, ``llr`` as learned, ``clr`` by a masked
    language model."""
    form: Form | None = None
    """Of an untrained gate: the formula's, as in the ``paper`` or in the authors' ``code``; paper unless given."""
    activation: Activation | None = None
    """Of an untrained gate: softmax, as published, unless given."""
    statistics: Statistics | None = None
    """Of an untrained gate: ``idf`` weights SLR's tokens by how rare they are in the collection; none unless given."""
    mlm: str | None = None
    """For clr: the masked language model, by name, folder or hub id. That which the gate was trained with, the encoder itself
    for an untrained gate, unless given."""
    seed: int | None = None
    """Of an untrained gate: of its weights; 0 unless given."""

    @model_validator(mode="after")
    def _one_gate(self) -> Self:
        given = [name for name in _UNTRAINED if getattr(self, name) is not None and name != "mlm"]
        if self.gate is not None and given:
            raise ValueError(f"{given[0]} is said by the gate's own folder: leave it out, or leave gate out")
        if self.gate is None and self.statistics == "idf" and self.method not in (None, "slr"):
            raise ValueError(f"statistics: idf is an input of slr, and not of {self.method}")
        if self.gate is None and self.mlm is not None and self.method != "clr":
            raise ValueError("mlm is for method: clr alone")
        return self

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the folder of the gate."""
        if self.gate is None:
            return []
        try:
            _usable(read_spec(_folder(self.gate, base)))
        except IrkitError as error:
            return [("gate", problem) for problem in error.problems]
        return []

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the fingerprints of the model, of the gate and of the masked language model, and the libraries' versions."""
        spec = self._spec(context)
        found = self.encoder_identity(context)
        if self.gate is not None:
            found["gate"] = gate_fingerprint(_folder(self.gate, context.workspace))
        if (spec.method if spec else self.method) == "clr":
            found["mlm"] = identify(self._mlm(spec), context.workspace)
        return found

    def artifacts(self, context: Context) -> list[Recipe]:
        """Return the recipe of the collection's document frequencies, where SLR takes them."""
        spec = self._spec(context)
        rare = (spec.statistics if spec else self.statistics) == "idf"
        return [token_frequencies_recipe(self, context)] if rare else []

    def prepare(self, context: Context) -> LexSemBridgeState:
        """Load the model and the gate; count the collection's tokens where that is needed and the store lacks it.

        Raises:
            ModelError: when the model or the gate cannot be loaded, or they do not belong together.
        """
        from irkit.models.encoder import Encoder
        from irkit.models.lexsembridge_encoder import GatedEncoder

        spec, model = self._spec(context), resolve(self.model, context.workspace)
        where = self.gate or model.name
        if spec is not None:
            spec.require_model(model.name, model.fingerprint, where)
        encoder = self.load_encoder(context)
        if not isinstance(encoder, Encoder) or encoder.multi_vector:
            hint = "take an encoder of one vector a text, such as minilm"
            raise ModelError.of(
                "the model gives no vector that a gate could modulate", where=model.name, hint=hint
            )
        gate = self._gate(encoder, model, context)
        rare = self._rarity(gate.spec, encoder, context) if gate.spec.statistics == "idf" else None
        context.notes["gate"] = gate.spec.told() + (", untrained" if self.gate is None else "")
        gated = GatedEncoder(encoder, gate, rare, where)
        return LexSemBridgeState(gated, self.space(context, encoder))

    def run(self, batch: Batch, state: LexSemBridgeState) -> Queries:
        """Give the queries their modulated vectors; say how much each was modulated."""
        found = state.encoder.modulate(batch.queries.text)
        lines = [
            f"lexsembridge: sigma {sigma:.3f}, cosine to the query {cosine:.4f}"
            for sigma, cosine in zip(found.sigma, found.cosine, strict=True)
        ]
        vectors = scaled(found.vectors, state.space.cosine)
        return told(with_vectors(batch.queries, vectors, state.space.key), lines)

    def _spec(self, context: Context) -> GateSpec | None:
        return None if self.gate is None else _usable(read_spec(_folder(self.gate, context.workspace)))

    def _mlm(self, spec: GateSpec | None) -> str:
        return self.mlm or (spec.mlm if spec else None) or self.model

    def _gate(self, encoder: Encoder, model: ResolvedModel, context: Context) -> Gate:
        from irkit.models.lexsembridge import Gate
        from irkit.models.masked_lm import MaskedLM

        if self.gate is not None:
            gate = Gate.load(_folder(self.gate, context.workspace))
            asked = resolve(self._mlm(gate.spec), context.workspace) if gate.spec.method == "clr" else None
        else:
            method = self.method or "slr"
            asked = resolve(self._mlm(None), context.workspace) if method == "clr" else None
            spec = gate_spec(
                encoder.loaded,
                model,
                method=method,
                form=self.form or "paper",
                activation=self.activation or "softmax",
                statistics=self.statistics or "none",
                mlm=asked,
            )
            gate = Gate(spec, self.seed or 0)
        if asked is not None:
            if asked.fingerprint != gate.spec.mlm_fingerprint:
                message = f"the gate was trained with the masked LM {gate.spec.mlm!r}, and {asked.name!r} is another one"
                raise ModelError.of(message, where=self.gate, hint="leave mlm out, or name that one")
            gate.attach(MaskedLM(asked, encoder.device, trust_remote_code=self.trust_remote_code))
        return gate

    def _rarity(self, spec: GateSpec, encoder: Encoder, context: Context) -> NDArray[Any]:
        held = open_token_frequencies(self, context, encoder.loaded.tokenizer, spec.vocabulary)
        return rarity(held, len(context.collection.docs))


def _folder(gate: str, base: Path) -> Path:
    return base / Path(gate).expanduser()


def _usable(spec: GateSpec) -> GateSpec:
    """Refuse a gate that modulates documents too.

    Raises:
        ConfigError: for ``side: both``.
    """
    if spec.side != "query":
        message = "the gate was trained to modulate documents too, and irkit modulates queries alone"
        raise ConfigError.of(message, where="gate", hint="train it with side: query, the published default")
    return spec
