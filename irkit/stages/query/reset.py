"""Back to the query as it was."""

from __future__ import annotations

from typing import Any, ClassVar

from irkit.core.queries import Queries
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.forms import ORIGINAL, restored, told


class Reset(QueryStage):
    """Give the stages that follow the collection's own query again, as for a reranker after an expanded first stage."""

    takes: ClassVar[tuple[str, ...]] = ()

    def run(self, batch: Batch, state: Any) -> Queries:
        """Restore the texts, and drop every other form."""
        queries = batch.queries
        return told(
            restored(queries, queries.columns.get(ORIGINAL, queries.text)),
            ["reset: the query as it was"] * len(queries),
        )
