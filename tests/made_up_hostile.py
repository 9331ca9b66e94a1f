"""Made-up experiments whose names, ids and texts try to be more than text."""

from __future__ import annotations

from made_up import MadeUp, experiment

from irkit.core.text import well_formed

HOSTILE = [
    '<script>alert("1")</script>',
    "</script><img src=x onerror=alert(2)>",
    "--><!--<script>alert(3)//",
    "'\"`><svg onload=alert(4)>",
    "javascript:alert(5)",
    "\u05e9\u05dc\u05d5\u05dd \u202eright to left\u202c",
    "\U0001f50d emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "line\u2028and paragraph\u2029ends",
    "half a pair \ud83d and \udc00",
    "control \x00\x07\x1b[31m\x7f\x85 characters",
    "{{ 7 * 7 }} {% raw %} ${alert(6)}",
    "__proto__",
    "constructor",
    "a&amp;b &lt;b&gt;",
    "x" * 100,
]
"""Names, ids and texts that must stay nothing but text."""


def hostile(queries: int = 20) -> MadeUp:
    """Return an experiment whose every name, id and text has one of :data:`HOSTILE`, and one query of 100,000 characters."""
    texts = [well_formed(each) for each in HOSTILE]
    made = experiment(
        pipelines=len(texts), collections=3, queries=queries, names=texts, collection_names=texts[:3]
    )

    def bad(number: int) -> str:
        return texts[number % len(texts)]

    qid = [f"{bad(i)} {i}" for i in range(queries)]
    tables = [
        table.model_copy(
            update={
                "qid": qid,
                "changed": [
                    each.model_copy(update={"qid": qid[int(each.qid[1:])], "query": bad(i)})
                    for i, each in enumerate(table.changed)
                ],
                "explained": [
                    each.model_copy(update={"qid": qid[int(each.qid[1:])], "query": bad(i)})
                    for i, each in enumerate(table.explained)
                ],
            }
        )
        for table in made.per_query
    ]
    details = [
        each.model_copy(
            update={
                "documents": [
                    text.model_copy(update={"docno": f"{bad(i)} {i}", "text": bad(i + 1)})
                    for i, text in enumerate(each.documents)
                ],
                "queries": [
                    query.model_copy(
                        update={"qid": qid[int(query.qid[1:])], "text": bad(i + 2) if i else "long " * 20_000}
                    )
                    for i, query in enumerate(each.queries)
                ],
            }
        )
        for each in made.details
    ]
    funnels = [
        each.model_copy(
            update={"steps": [step.model_copy(update={"label": bad(i)}) for i, step in enumerate(each.steps)]}
        )
        for each in made.funnels
    ]
    stages = [
        each.model_copy(update={"label": bad(i), "notes": {bad(i + 1): bad(i + 2)}})
        for i, each in enumerate(made.results.stages)
    ]
    results = made.results.model_copy(
        update={"stages": stages, "experiment": texts[0], "description": " ".join(texts)}
    )
    efficiency = made.efficiency.model_copy(
        update={"machine": texts[0], "device": texts[1], "command": texts[2]}
    )
    return MadeUp(results, tables, funnels, details, efficiency)
