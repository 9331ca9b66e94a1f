"""Where relevant documents are lost, in Markdown: a short table of the funnels of a collection."""

from __future__ import annotations

from collections.abc import Sequence

from irkit.report import format as fmt
from irkit.report.details import Funnel


def lost_rows(funnels: Sequence[Funnel]) -> list[list[str]]:
    """Return a row for each pipeline and stage: pipeline, stage, relevant documents in its output, in its first k, lost by it.

    Shares are of all relevant documents. Before the first stage stands what no first stage finds.
    """
    rows = []
    for funnel in funnels:
        rows.append([funnel.pipeline, "found by no first stage", "", "", _share(funnel.missed, funnel.total)])
        rows += [
            [
                funnel.pipeline,
                step.label,
                _share(step.relevant, funnel.total),
                _share(step.top, funnel.total),
                _share(step.lost, funnel.total) if step.inputs else "",
            ]
            for step in funnel.steps
        ]
    return rows


def _share(part: int, total: int) -> str:
    return f"{fmt.count(part)} ({100 * part / total:.1f} %)" if total else fmt.count(part)
