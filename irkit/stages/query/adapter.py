"""A trained adapter between an encoder and its index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from irkit.core.errors import ModelError, Problem
from irkit.core.queries import Queries
from irkit.models.adapter import Adapter
from irkit.models.resolve import identify
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.forms import told, with_vectors
from irkit.stages.query.vectors import VectorOptions, VectorSpace, cosine


@dataclass(frozen=True)
class AdaptState:
    """What ``prepare`` opens: the space of the vectors, and the adapter."""

    space: VectorSpace
    adapter: Adapter


class Adapt(VectorOptions, QueryStage):
    """Change a query's vector by a low-rank adapter that was trained for the model (:mod:`irkit.models.adapter`).

    The index stays as it is, also where the adapter has a documents' side: that folds into the query's vector.
    """

    path: str = Field(
        description="Give the folder that `irkit train` wrote; a relative path starts from the workspace."
    )
    side: Literal["query", "both"] | None = None
    """Use its query side only, or both; what it has unless given."""

    def faults(self, base: Path) -> list[tuple[str, Problem]]:
        """Return what is wrong with the adapter's folder."""
        try:
            self._load(base)
        except ModelError as error:
            return [("path", problem) for problem in error.problems]
        return []

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return the model's fingerprint, the adapter's, and the libraries' versions."""
        return {**super().identity(context), "adapter": self._load(context.workspace).content}

    def prepare(self, context: Context) -> AdaptState:
        """Load the model and the adapter.

        Raises:
            ModelError: when the model or the adapter cannot be loaded, or the adapter belongs to another model.
        """
        adapter = self._load(context.workspace)
        encoder = self.load_encoder(context)
        space = self.space(context, encoder)
        similarity = "cosine" if space.cosine else "dot"
        adapter.check(self.model, identify(self.model, context.workspace), encoder.dim, similarity)
        sides = "query and document" if adapter.document else "query"
        context.notes["adapter"] = f"{sides} side, rank {adapter.query.rank}"
        return AdaptState(space, adapter)

    def run(self, batch: Batch, state: AdaptState) -> Queries:
        """Give every query its adapted vector."""
        before = state.space.of(batch.queries)
        after = state.adapter.of_query(before)
        lines = [
            f"adapter: cosine to the query {cosine(*both):.2f}" for both in zip(before, after, strict=True)
        ]
        return told(with_vectors(batch.queries, after, state.space.key), lines)

    def _load(self, base: Path) -> Adapter:
        folder = base / Path(self.path).expanduser()
        adapter = Adapter.load(folder)
        if self.side == "both" and adapter.document is None:
            hint = "leave side out, or train the adapter with both sides"
            raise ModelError.of("the adapter has no side of documents", where=str(folder), hint=hint)
        return adapter.query_side() if self.side == "query" else adapter
