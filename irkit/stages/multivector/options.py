"""What the stages of late interaction share: how token vectors are made, reduced and kept, and how queries meet them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from irkit.models.ragged import Ragged
from irkit.pipeline.context import Context
from irkit.stages.encoding import EncoderOptions
from irkit.stages.multivector.tokens import Tokens, build_tokens, tokens_recipe
from irkit.store import Recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Encoder


class TokenOptions(BaseModel):
    """How document tokens are reduced and kept. The default keeps every token as the encoder gives it, in float16."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: PositiveInt | None = None
    """Project the vectors to so many dimensions by PCA; the encoder's own unless given."""
    words: bool = False
    """Merge the tokens of a document that are pieces of one whole word, wherever it occurs (ColBERTer's bag of whole words)."""
    prune: Literal["stop-words", "attention"] | None = None
    """Drop the tokens of stop words, or those that the model's last layer attends to least."""
    keep: float = 0.6
    """With ``prune: attention``, the share of a document's tokens that stays."""
    pool: PositiveInt = 1
    """Merge similar tokens of a document (Ward's clusters) until one in so many is left."""
    codec: Literal["float16", "int8", "residual-1", "residual-2", "residual-4"] = "float16"
    """How vectors are kept: as they are, as a byte a dimension, or as the nearest centroid and 1, 2 or 4 bits a dimension."""


class LateInteraction(EncoderOptions):
    """The options of a stage that compares token vectors."""

    tokens: TokenOptions = TokenOptions()
    query_special_tokens: bool | None = None
    """Whether the special tokens of a query, such as [CLS] and [SEP], count; those of a document always do.

    Unless given, a bi-encoder's do not (they match everything a little), and a MultiVectorEncoder decides itself.
    """

    def token_recipes(self, context: Context) -> list[Recipe]:
        """Return the recipes of the artifacts behind the documents' tokens; the last is the one that is read."""
        return [tokens_recipe(self, context)]

    def open_tokens(self, context: Context, encoder: Encoder) -> Tokens:
        """Open the documents' tokens, and make them where the store lacks them."""
        (recipe,) = self.token_recipes(context)
        return Tokens.open(context.artifact(recipe, lambda build: build_tokens(build, context, encoder)))

    def query_tokens(self, encoder: Encoder, tokens: Tokens, texts: Sequence[str]) -> Ragged:
        """Encode queries and bring them into the space of the documents' tokens."""
        wanted = self.query_special_tokens
        special = encoder.multi_vector if wanted is None else wanted
        return tokens.project(encoder.tokens(texts, "query", special=special))
