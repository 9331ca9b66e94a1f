"""Where relevant documents are lost, in Markdown: a short table of the funnels of a collection."""

from __future__ import annotations

from collections.abc import Sequence

from irkit.report import format as fmt
from irkit.report.details import Funnel


def lost_rows(funnels: Sequence[Funnel]) -> list[list[str]]:
    """Return a row for each pipeline and stage: pipeline, stage, relevant documents in its output, in its first k, lost by it.

    Shares are of all relevant documents. Before the first stage stands what the collection lacks, and what no first stage finds; at
    the end, which stages there is nothing known of.
    """
    rows = []
    for funnel in funnels:
        if funnel.outside:
            rows.append(
                [funnel.pipeline, "not in the collection", "", "", _share(funnel.outside, funnel.total)]
            )
        rows.append([funnel.pipeline, funnel.missed_told, "", "", _share(funnel.missed, funnel.total)])
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
        if funnel.left_out:
            told = f"not known of {', '.join(funnel.left_out)}: its losses count with the stage after it"
            rows.append([funnel.pipeline, told, "", "", ""])
    return rows


def _share(part: int, total: int) -> str:
    return f"{fmt.count(part)} ({100 * part / total:.1f} %)" if total else fmt.count(part)
