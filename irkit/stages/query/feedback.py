"""What the stages of pseudo-relevance feedback share: whose documents they believe, and when."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from irkit.core.rankings import Rankings
from irkit.pipeline.context import Context
from irkit.pipeline.stage import Needs, QueryStage
from irkit.stages.forms import kept
from irkit.stages.query.gate import Gate, GateOption


class FeedbackStage(QueryStage):
    """A query stage that takes the first documents of the stage before it, whichever that is, for relevant ones."""

    needs: ClassVar[Needs] = "one"

    fb_docs: NonNegativeInt = 10
    """How many of the first documents are believed; 0 leaves the query as it is."""
    gate: GateOption = None
    """Leave a query as it is where its first documents look unreliable; true is the default gate. Believe them always unless
    given."""

    def believed(self, rankings: Rankings, context: Context) -> NDArray[np.bool_]:
        """Return which queries are to be changed, ``bool[Q]``: those with documents that the gate, if any, lets through."""
        if self.fb_docs == 0:
            return np.zeros(len(rankings), bool)
        found = np.diff(rankings.offsets) > 0
        if self.gate is not None:
            trusted = self.gate.trusts(rankings)
            context.counts["gate/kept the query"] += int((found & ~trusted).sum())
            context.counts["gate/changed it"] += int((found & trusted).sum())
            if self.gate.least == Gate().least:
                context.notes["the gate's threshold"] = "was chosen for BM25's scores and cosines"
            found &= trusted
            longest = int(np.diff(rankings.offsets).max(initial=0))
            if longest < min(self.gate.depth, len(context.collection.docs)):
                context.notes["the gate's list"] = (
                    f"looks at {self.gate.depth} documents, and was given {longest} at most"
                )
        return found

    def kept(self, label: str, rankings: Rankings, believed: NDArray[np.bool_]) -> list[str]:
        """Return for each query what to tell of it: why it stays as it was; nothing for one that is believed.

        Args:
            label: the stage's name.
            rankings: those that :meth:`believed` was asked about.
            believed: what it answered, ``bool[Q]``.
        """
        found = np.diff(rankings.offsets) > 0
        reasons = np.where(found, "the gate does not believe its documents", "it has no documents").tolist()
        if self.fb_docs == 0:
            reasons = ["fb_docs is 0"] * len(rankings)
        return [
            "" if yes else kept(label, reason) for yes, reason in zip(believed.tolist(), reasons, strict=True)
        ]
