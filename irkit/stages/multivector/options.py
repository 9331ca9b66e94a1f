"""What the stages of late interaction share: how token vectors are made, reduced and kept, and how queries meet them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from irkit.core.queries import Queries
from irkit.core.rankings import offsets_of
from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context
from irkit.pipeline.stage import EXECUTION, Stage
from irkit.stages.encoding import EncoderOptions
from irkit.stages.forms import TOKENS as ADDED
from irkit.stages.forms import tokens_of
from irkit.stages.multivector.encoded import TOKENS, Encoding, Kept, build_tokens, tokens_recipe
from irkit.stages.multivector.tokens import Tokens
from irkit.store import Artifact, Build, Recipe

if TYPE_CHECKING:
    from irkit.models.opening import TextEncoder

STORE = "token-store"
"""The kind of the artifact of reduced tokens."""

_KEEP = 0.6


class TokenOptions(BaseModel):
    """How document tokens are reduced and kept. The default keeps every token as the encoder gives it, in float16."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: PositiveInt | None = None
    """Project the vectors to so many dimensions by PCA; the encoder's own unless given."""
    words: bool = False
    """Merge the tokens of a document that are pieces of one whole word, wherever it occurs (ColBERTer's bag of whole words)."""
    prune: Literal["stop-words", "attention"] | None = None
    """Drop the tokens of English stop words and punctuation, or those that the model's last layer attends to least."""
    keep: float = Field(default=_KEEP, gt=0, le=1)
    """With ``prune: attention``, the share of a document's tokens that stays."""
    pool: PositiveInt = 1
    """Merge similar tokens of a document (Ward's clusters) until one in so many is left."""
    codec: Literal["float16", "int8", "residual-1", "residual-2", "residual-4"] = "float16"
    """How vectors are kept: as they are, as a byte a dimension, or as the nearest centroid and 1, 2 or 4 bits a dimension."""

    @model_validator(mode="after")
    def _keep_needs_attention(self) -> Self:
        if self.keep != _KEEP and self.prune != "attention":
            raise ValueError(
                "keep says how much attention pruning leaves: add prune: attention, or leave keep out"
            )
        return self


class LateInteraction(EncoderOptions, Stage):
    """What a stage that compares token vectors has in common with all others: options, and the artifacts behind them."""

    takes: ClassVar[tuple[str, ...]] = ("text", ADDED)
    uncounted: ClassVar[str] = "the search among token vectors, where irkit's own kernels do it"

    tokens: TokenOptions = TokenOptions()
    query_special_tokens: bool | None = None
    """Whether the special tokens of a query, such as [CLS] and [SEP], count; those of a document always do.

    Unless given, a bi-encoder's do not (they match everything a little), and a MultiVectorEncoder decides itself.
    """
    keep_raw: bool = Field(default=True, json_schema_extra=dict(EXECUTION))
    """Where ``tokens`` reduces them: keep the encoder's own vectors too, so that another reduction need not encode again.

    Without them nothing of that size is ever written, and the sample from which the reduction learns is encoded twice.
    """

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the options that name the index, for token vectors."""
        return (
            {**self.documents_options(), "tokens": self.tokens.model_dump(mode="json")}
            if form == ADDED
            else {}
        )

    def opens(self, context: Context) -> list[Recipe]:
        """Return the artifacts that are read: of the tokens, those that were reduced, where they were."""
        found = self.artifacts(context)
        reduced = any(recipe.kind == STORE for recipe in found)
        return [recipe for recipe in found if not (reduced and recipe.kind == TOKENS)]

    def token_recipes(self, context: Context) -> list[Recipe]:
        """Return the recipes of the artifacts behind the documents' tokens; the last is the one that is read."""
        raw = tokens_recipe(self, context, salience=self.tokens.prune == "attention")
        if self.tokens.model_dump() == TokenOptions().model_dump():
            return [raw]
        reduced = Recipe(STORE, {"tokens": raw.key, **reduction_spec(self.tokens)})
        return [raw, reduced] if self.keep_raw else [reduced]

    def open_tokens(self, context: Context, encoder: TextEncoder) -> Tokens:
        """Open the documents' tokens, and make them where the store lacks them.

        Raises:
            ConfigError: when the encoder cannot give what ``tokens`` asks for.
            ModelError: when a reduction needs words or attention, and the model tells none.
        """
        from irkit.stages.multivector.reduce import build_store, check_encoder, check_options

        check_options(self.tokens, encoder.token_dim, encoder.name)
        salience = self.tokens.prune == "attention"
        raw = tokens_recipe(self, context, salience=salience)
        *_, wanted = self.token_recipes(context)

        def encode(build: Build) -> dict[str, Any]:
            return build_tokens(build, context, encoder, salience=salience)

        def reduce(build: Build) -> dict[str, Any]:
            check_encoder(self.tokens, encoder)
            kept = context.artifact(raw, encode) if self.keep_raw else context.store.find(raw)
            source = Encoding(context, encoder, salience=salience) if kept is None else Kept(kept)
            return build_store(build, context, self.tokens, source, encoder.token_dim)

        opened = context.artifact(wanted, encode if wanted.key == raw.key else reduce)
        context.notes["tokens"] = _said(opened)
        return Tokens.open(opened)

    def query_tokens(
        self, encoder: TextEncoder, tokens: Tokens, texts: Sequence[str], *, words: bool = False
    ) -> Ragged:
        """Encode queries and bring them into the space of the documents' tokens; with ``words``, also say their words."""
        wanted = self.query_special_tokens
        special = encoder.multi_vector if wanted is None else wanted
        return tokens.project(encoder.tokens(texts, "query", special=special, words=words))

    def asked_tokens(self, encoder: TextEncoder, tokens: Tokens, queries: Queries) -> Ragged:
        """Return the token vectors of queries, with those that a stage before added to them."""
        found = self.query_tokens(encoder, tokens, queries.text)
        added = tokens_of(queries, tokens.key)
        if added is None:
            return found
        parts = [np.concatenate([found[row], each[each.any(axis=1)]]) for row, each in enumerate(added)]
        return Ragged(offsets_of([len(part) for part in parts]), np.concatenate([found.vectors[:0], *parts]))


def reduction_spec(options: TokenOptions) -> dict[str, Any]:
    """Return what decides a reduction besides the vectors that it starts from."""
    from irkit.stages.multivector.reduce import REDUCTION

    spec: dict[str, Any] = {"reduction": REDUCTION, **options.model_dump(mode="json")}
    if options.pool > 1:
        spec["scipy"] = ".".join(version("scipy").split(".")[:2])
    return spec


def _said(tokens: Artifact) -> str:
    """Say how many tokens there are, of how many, and what each takes."""
    meta = tokens.meta
    count = f"{meta['tokens']:,} of {meta['encoded']:,}" if "encoded" in meta else f"{meta['tokens']:,}"
    return f"{count} tokens, {meta.get('bytes_per_token', 2 * meta['dim'])} bytes each"
