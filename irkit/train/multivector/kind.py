"""``kind: multivector``: a linear head that makes a bi-encoder's token vectors short and fit for late interaction.

The head, v = W h / |W h| with W of ``[dim, hidden]`` and without a bias, is the same for queries and documents, and starts as the
PCA of document tokens. The transformer is frozen (its token vectors are worked out once) or, with ``rank``, gets LoRA adapters
(peft) along with the head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, cast

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from irkit.core.errors import ConfigError
from irkit.pipeline.graph import Problems
from irkit.pipeline.options import OptionError
from irkit.pipeline.stage import EXECUTION
from irkit.train.bi_encoder import BiEncoderOptions, open_bi_encoder
from irkit.train.distil import Distil
from irkit.train.examples import Examples
from irkit.train.kinds import Kind, find_model
from irkit.train.learner import Learner, Surroundings
from irkit.train.recipe import Recipe

_WORDS = ("sentence_dim", "gate_l1", "gate_lr")
_LORA = ("alpha", "dropout", "lora_lr", "autocast")


class MultiVectorOptions(BiEncoderOptions):
    """The options of a token head and of the encoder before it."""

    dim: PositiveInt = 64
    """Of the token vectors that the head makes."""
    objective: Literal["contrastive", "xtr", "match"] = "contrastive"
    """``contrastive``: every query's MaxSim against all documents of the batch; ``xtr``: only document tokens count that a query
    token retrieves from among all of the batch. ``match``, of a frozen transformer, learns from no label: what a query
    token (with ``reduce``, a word that is no stop word) finds in its query's own documents is to be what it finds there by all
    dimensions."""
    k_train: PositiveInt = 256
    """With ``xtr``, how many document tokens a query token retrieves."""
    k_share: float = Field(0.05, gt=0, le=1)
    """With ``xtr``, at most this share of the batch's document tokens. The authors' batches have some hundred thousand of
    them: 256 are less than a hundredth. In a batch of a few thousand, 256 are so many that every query token retrieves nearly
    every document, and the objective is the contrastive one again. 0.05 is about the share that a search looks at.
    """
    reduce: Literal["words"] | None = None
    """``words``: ColBERTer's reduction. A document is a vector for each unique whole word, scaled by a gate that may drop it, and a
    sentence vector; the result is for the stage ``colberter``.
    """
    sentence_dim: PositiveInt = 128
    """With ``reduce``, of the sentence vectors."""
    gate_l1: float = Field(0.05, ge=0)
    """With ``reduce``, what a mean gate of 1 costs: the greater, the more words are dropped."""
    gate_lr: PositiveFloat = 1e-2
    """With ``reduce``, the learning rate of the gates and of the score's weight, numbers near 1 that have to move by as much.
    ``match`` leaves that weight alone.
    """
    distil: Distil | None = None
    """Learn from a teacher's scores too; the recipe names the teacher."""
    rank: PositiveInt | None = None
    """Of LoRA adapters on all linear layers of the transformer; none unless given."""
    alpha: PositiveFloat | None = None
    """LoRA's scale is alpha / rank; twice the rank unless given."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of what goes into LoRA's layers, while training."""
    lora_lr: PositiveFloat = 2e-4
    """The learning rate of LoRA's weights; ``training: {lr: ...}`` is the head's."""
    query_tokens: PositiveInt = 64
    """With ``rank``: tokens of a query that are read in training; never more than the model's own limit."""
    document_tokens: PositiveInt = 256
    """With ``rank``: tokens of a document, likewise."""
    autocast: Literal["none", "bfloat16"] = "none"
    """With ``rank``: the arithmetic of the transformer."""
    block_tokens: PositiveInt = Field(default=1 << 16, json_schema_extra=dict(EXECUTION))
    """Document tokens that are looked at together where held-out queries are ranked; changes no result but in the last bits."""
    pool: PositiveInt | None = None
    """The most documents that held-out queries are ranked against; those of the examples unless given. The queries' own, relevant
    ones and mined negatives, are never left out: there may be more of them than this.
    """

    @model_validator(mode="after")
    def _options_are_of_use(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in fields if getattr(self, name) != fields[name].default}
        if self.rank is None and (idle := [name for name in _LORA if name in given]):
            raise OptionError(
                f"a frozen transformer makes no use of {', '.join(idle)}", "set rank, or leave it out"
            )
        if self.objective == "match" and self.rank is not None:
            raise OptionError(
                "match learns from a frozen transformer", "leave rank out, or take another objective"
            )
        if self.objective == "match" and self.distil is not None:
            raise OptionError("objective: match makes no use of distil", "leave it out")
        if self.objective != "xtr" and (idle := [name for name in ("k_train", "k_share") if name in given]):
            raise OptionError(
                f"objective: {self.objective} makes no use of {', '.join(idle)}", "set objective: xtr"
            )
        if self.reduce is None and (idle := [name for name in _WORDS if name in given]):
            raise OptionError(f"without reduce there is no use of {', '.join(idle)}", "set reduce: words")
        if self.reduce is not None and "similarity" in given:
            raise OptionError("reduce: words makes no use of similarity", "leave it out")
        if self.reduce is not None and self.objective == "xtr":
            raise OptionError("reduce: words makes no use of objective: xtr", "leave it out, or take match")
        if self.rank is not None and self.dtype != "float32":
            raise OptionError(
                "a model that is trained has float32", "set autocast: bfloat16 instead of dtype"
            )
        return self


class MultiVectorKind(Kind):
    """Heads for token vectors."""

    Options = MultiVectorOptions
    version = 3

    @classmethod
    def open(cls, recipe: Recipe, examples: Examples, place: Surroundings) -> Learner:
        """Load the encoder; with a frozen one, encode the texts or find their token vectors in the scratch folder.

        Raises:
            ConfigError: when the head is to have more dimensions than the encoder's token vectors, or there are no scores of a
                teacher to learn from.
            ModelError: when the encoder cannot be loaded, or has no token vectors.
        """
        from irkit.train.multivector.learners import FrozenTokens, TrainedTokens
        from irkit.train.multivector.word_learners import FrozenWords, TrainedWords

        options = cast(MultiVectorOptions, recipe.options)
        if options.distil is not None:
            options.distil.check(examples)
        encoder, model = open_bi_encoder(options, place)
        if options.dim > encoder.token_dim:
            message = (
                f"dim is {options.dim}, and the encoder's token vectors have {encoder.token_dim} dimensions"
            )
            hint = f"take at most {encoder.token_dim}"
            raise ConfigError.of(message, where="options.dim", hint=hint)
        frozen, lora = (
            (FrozenTokens, TrainedTokens) if options.reduce is None else (FrozenWords, TrainedWords)
        )
        kind = frozen if options.rank is None else lora
        return kind(recipe, examples, place, encoder, model)

    @classmethod
    def check(cls, recipe: Recipe, base: Path | None) -> Problems:
        """Return also that a query with one document has nothing to match."""
        found = super().check(recipe, base)
        if cast(MultiVectorOptions, recipe.options).objective == "match" and recipe.training.group < 2:
            hint = "training: {group: 16}, and negatives: {pipeline: [bm25: {k: 50}]}"
            message = "objective: match compares what is found in several documents of a query"
            found.append((("training", "group"), message, hint))
        return found

    @classmethod
    def reads(cls, options: BaseModel, place: Surroundings) -> str:
        """Return the fingerprint of the encoder."""
        return find_model(cast(MultiVectorOptions, options).model, place).fingerprint
