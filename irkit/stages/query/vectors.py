"""What the stages that change a query's vector share: the space of an index, and the vector that a query has in it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from irkit.core.queries import Queries
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Stage
from irkit.stages.encoding import EncoderOptions
from irkit.stages.forms import VECTOR, vectors_of
from irkit.stages.sentence_vectors import is_cosine, scaled, vectors_recipe

if TYPE_CHECKING:
    from irkit.models.encoder import Vectors
    from irkit.models.opening import TextEncoder


@dataclass(frozen=True)
class VectorSpace:
    """The space in which queries meet the vectors of a collection's documents.

    Attributes:
        encoder: of the queries.
        cosine: whether vectors are brought to length 1 when they are encoded.
        key: its name, that of the documents' vectors.
    """

    encoder: TextEncoder
    cosine: bool
    key: str

    def of(self, queries: Queries) -> Vectors:
        """Return the queries' vectors, ``float32[Q, dim]``: those that a stage before gave them, else those of their texts.

        Raises:
            ConfigError: when the vectors that they were given are of another space.
        """
        given = vectors_of(queries, self.key)
        return scaled(self.encoder.vectors(queries.text, "query"), self.cosine) if given is None else given


class VectorOptions(EncoderOptions, Stage):
    """The options of a stage that makes a query's vector; given as to the ``dense`` that follows, they name the same index."""

    takes: ClassVar[tuple[str, ...]] = ("text", VECTOR)
    gives: ClassVar[tuple[str, ...]] = (VECTOR,)

    similarity: Literal["dot", "cosine"] | None = None
    """How vectors are compared; as the model says unless given."""

    def space_of(self, form: str) -> Mapping[str, Any]:
        """Return the options that name the index, for a vector."""
        return {**self.documents_options(), "similarity": self.similarity} if form == VECTOR else {}

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint and the libraries' versions."""
        return self.encoder_identity(context)

    def space(self, context: Context, encoder: TextEncoder) -> VectorSpace:
        """Return the space of the index that these options name."""
        key = vectors_recipe(self, context, self.similarity).key
        return VectorSpace(encoder, is_cosine(encoder, self.similarity), key)


def cosine(one: Vectors, other: Vectors) -> float:
    """Return the cosine of two vectors, in float64; 0 where one is zero."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    norms = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum() / norms) if norms else 0.0
