"""When to believe feedback: a predictor of it, from the scores of the first documents alone."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from irkit.core.rankings import Rankings, ScoreArray


class Gate(BaseModel):
    """Believe the feedback of a query only where its ranking is flat: where the mean score of the first ``depth`` documents is at
    least ``least`` times that of the first.

    Where a few documents stand out, they are the answer, and those behind them would pull the query away from it; where many answer
    alike, they can tell what the query did not say. The mean is over what was found: let the stage before return ``depth``
    documents, for a shorter list is flatter. ``eval/bench/README.md`` says on which collections the defaults were chosen, and on
    which others they were judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: PositiveInt = 100
    least: float = Field(default=0.63, ge=0, le=1, allow_inf_nan=False)

    def trusts(self, rankings: Rankings) -> NDArray[np.bool_]:
        """Return for which queries the feedback is believed, ``bool[Q]``; never without a score above zero."""
        return np.array([self.flatness(scores) >= self.least for _, scores in rankings], bool)

    def flatness(self, scores: ScoreArray) -> float:
        """Return the mean of the first ``depth`` scores, best first, over the first; -inf where that is not above zero."""
        if not len(scores) or scores[0] <= 0:
            return -np.inf
        return float(scores[: self.depth].mean(dtype=np.float64) / np.float64(scores[0]))


def _gate(value: Any) -> Any:
    """Read ``true`` as the default gate and ``false`` as none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


GateOption = Annotated[Gate | None, BeforeValidator(_gate, json_schema_input_type=bool | Gate | None)]
"""The option ``gate`` of a stage."""
