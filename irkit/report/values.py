"""The values per query as the page has them: short, and with the ties that the tests see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.report.results import PerQuery

DECIMALS = 6
"""Of the values, two more than the page shows; where they stand closer there are more."""


def packed_values(values: PerQuery | None, pipelines: Sequence[str]) -> dict[str, Any] | None:
    """Return for each metric the distinct values, and for each pipeline their numbers, query by query; None for no values."""
    if values is None:
        return None
    names = list(dict.fromkeys(metric for of_one in values.values.values() for metric in of_one))
    metrics: dict[str, Any] = {}
    for metric in names:
        columns = {
            name: np.asarray(values.values[name][metric], dtype=np.float64)
            for name in pipelines
            if values.values.get(name, {}).get(metric)
        }
        if not columns:
            continue
        distinct, numbers = np.unique(np.stack(list(columns.values())), return_inverse=True)
        rows = dict(zip(columns, numbers.reshape(len(columns), -1).tolist(), strict=True))
        metrics[metric] = {
            "values": _rounded(distinct).tolist(),
            "rows": [rows.get(name) for name in pipelines],
        }
    return {"qid": values.qid, "metrics": metrics}


def _rounded(distinct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round ascending values to as few decimals as keep them apart from their neighbours; those that stand close stay as they are.

    So two values differ by more than :data:`~irkit.report.pairs.TIE` on the page where they do in the tests, and only there.
    """
    gaps = np.diff(distinct, prepend=-np.inf, append=np.inf)
    apart = np.minimum(gaps[:-1], gaps[1:])
    rounded = distinct.copy()
    for decimals in (DECIMALS + 2, DECIMALS):
        alone = apart > 4 * 10.0**-decimals
        rounded[alone] = np.round(distinct[alone], decimals)
    return rounded
