"""The methods by name."""

from __future__ import annotations

from typing import Final

from irkit.stages.query.reformulation.genqr import GENQR_ENSEMBLE, GENQR_ONE
from irkit.stages.query.reformulation.method import Method
from irkit.stages.query.reformulation.passages import HYDE_METHOD, MUGI_METHOD, QUERY2DOC_METHOD
from irkit.stages.query.reformulation.reasoning import COT_METHOD, REPLACE

METHODS: Final[dict[str, Method]] = {
    "genqr": GENQR_ONE,
    "genqr-ensemble": GENQR_ENSEMBLE,
    "hyde": HYDE_METHOD,
    "query2doc": QUERY2DOC_METHOD,
    "mugi": MUGI_METHOD,
    "cot": COT_METHOD,
    "replace": REPLACE,
}
