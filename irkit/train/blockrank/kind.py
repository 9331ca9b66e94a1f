"""``kind: blockrank``: a causal language model's attention, so that it rests on relevant documents (Gupta et al., 2025, arXiv
2510.05396, eq. 5): the auxiliary objective over lists of documents, without the next-token loss.

A list is read as the stage ``blockrank`` reads it, with the same prompt and the same tokens. Lists are drawn anew at every step: a
few relevant documents, mined negatives, and others where those are too few, in random order.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from irkit.models.resolve import read_config
from irkit.pipeline.graph import Problems
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import EXECUTION
from irkit.stages.rerank.blockrank_options import Decided, Layout, Lowercase
from irkit.stages.rerank.blockrank_prompt import Signal
from irkit.train.distil import Distil
from irkit.train.examples import Examples
from irkit.train.kinds import Kind, find_model
from irkit.train.learner import Learner, Surroundings
from irkit.train.recipe import Recipe

STAGE_OPTIONS = ("layout", "signal", "lowercase", "words", "block_tokens", "query_position")
"""Options that the stage has too; the model's own say them there."""


class BlockRankTraining(BaseModel):
    """The options of an attention reranker; names and meanings are those of the stage ``blockrank``."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = "smollm2"
    """A name of the catalogue, a local folder, a GGUF file's folder, or a hub id ``org/name[@revision]``."""
    layer: NonNegativeInt | None = None
    """The layer, from 0, whose attention is read; those above are left out of what is saved. The one behind the first half unless
    given: 15 of SmolLM2's 30."""
    layout: Layout = "released"
    signal: Signal = "answer"
    lowercase: Lowercase = False
    words: PositiveInt = 100
    """Of a document, title included, that the model reads."""
    block_tokens: PositiveInt = 256
    query_position: PositiveInt | None = None
    rank: PositiveInt | None = 16
    """Of the low-rank updates that are trained (LoRA); null to train all weights."""
    alpha: PositiveFloat = 32
    """The updates are scaled by alpha / rank."""
    distil: Distil | None = None
    """Learn from the recipe's teacher too."""
    change_case: float = Field(0.0, ge=0, le=1)
    """The share of lists whose query is read in capitals or, as often, in lower case; and, drawn apart, of those whose documents
    are read in lower case. Old collections have such texts, in which a language model sees other tokens."""
    autocast: Literal["none", "bfloat16"] | None = None
    """The arithmetic: bfloat16 on CUDA, none (float32) elsewhere unless given. What is trained is float32 always; weights that are
    not trained are kept in the precision of the arithmetic."""
    checkpointing: bool = Field(default=False, json_schema_extra=dict(EXECUTION))
    """Compute layers again in the backward pass: a third more work, and a fraction of the memory."""
    batch_tokens: PositiveInt = Field(default=1 << 16, json_schema_extra=dict(EXECUTION))
    """Tokens of one pass; the lists of a step that do not fit into one share their gradients out over several."""

    @model_validator(mode="after")
    def _case_is_of_use(self) -> Self:
        if self.lowercase is not False and self.change_case:
            raise OptionError(
                f"lowercase: {str(self.lowercase).lower()} undoes what change_case draws",
                "leave one of them out",
            )
        return self

    def decided(self) -> Decided:
        """Return what holds of the stage's options."""
        return Decided(**{name: getattr(self, name) for name in STAGE_OPTIONS})


class BlockRankKind(Kind):
    """Attention rerankers."""

    Options = BlockRankTraining
    version = 3
    training: ClassVar = {"epochs": 3, "batch": 32, "group": 20, "temperature": 0.05}
    least = 2

    @classmethod
    def check(cls, recipe: Recipe, base: Path | None) -> Problems:
        """Find a layer, too, that the model has not."""
        found, options = super().check(recipe, base), cast(BlockRankTraining, recipe.options)
        if base and options.layer is not None and not found:
            count = read_config(options.model, base).get("num_hidden_layers")
            if isinstance(count, int) and options.layer >= count:
                message = f"the model has no layer {options.layer}: it has {count}, counted from 0"
                found.append((("options", "layer"), message, "take a smaller one, or leave it out"))
        return found

    @classmethod
    def open(cls, recipe: Recipe, examples: Examples, place: Surroundings) -> Learner:
        """Load the language model.

        Raises:
            ConfigError: for a layer that the model has not, and for examples without a teacher's scores to learn from.
            ModelError: when the model cannot be loaded, or its attention cannot be learned.
        """
        from irkit.train.blockrank.learner import BlockRankLearner

        return BlockRankLearner(recipe, examples, place)

    @classmethod
    def reads(cls, options: BaseModel, place: Surroundings) -> str:
        """Return the fingerprint of the language model."""
        return find_model(cast(BlockRankTraining, options).model, place).fingerprint
