"""Back to the query as it was."""

from __future__ import annotations

from typing import Any

from irkit.core.queries import Queries
from irkit.pipeline.stage import Batch, QueryStage
from irkit.stages.forms import ORIGINAL, rewritten, told


class Reset(QueryStage):
    """Give the stages that follow the collection's own query again, as for a reranker after an expanded first stage."""

    def run(self, batch: Batch, state: Any) -> Queries:
        """Restore the texts, and drop weighted terms and vectors."""
        queries = batch.queries
        return told(
            rewritten(queries, queries.columns.get(ORIGINAL, queries.text)),
            ["reset: the query as it was"] * len(queries),
        )
