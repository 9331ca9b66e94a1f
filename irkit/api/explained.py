"""What the stages of a pipeline explained, as the results keep it."""

from __future__ import annotations

from irkit.core.explanation import Explanation
from irkit.core.text import well_formed
from irkit.data.docstore import DocStore
from irkit.exec.executor import Executor, label_of
from irkit.exec.explanations import asked, explanations
from irkit.pipeline.graph import Node
from irkit.report.results import ExplainedDocument, ExplainedQuery

MOST_PIECES = 2000
"""Of a document; the report is read by people."""


def explained_queries(pipeline: str, end: Node, executor: Executor) -> list[ExplainedQuery]:
    """Return the explanations that the stages of a pipeline are asked for, computed where the store has none."""
    collection = executor.context.collection
    found = []
    for node in end.walk():
        for row, of_query in enumerate(explanations(executor, node) if asked(node) else ()):
            gains = dict(zip(*(part.tolist() for part in collection.qrels[row]), strict=True))
            found.append(
                ExplainedQuery(
                    pipeline=pipeline,
                    stage=label_of(node),
                    qid=collection.queries.qid[row],
                    query=well_formed(collection.queries.text[row]),
                    documents=[_document(each, collection.docs, gains.get(each.doc)) for each in of_query],
                )
            )
    return found


def _document(explanation: Explanation, docs: DocStore, gain: int | None) -> ExplainedDocument:
    pieces = [well_formed(piece) for piece in explanation.pieces[:MOST_PIECES]]
    return ExplainedDocument(
        docno=well_formed(docs.docno(explanation.doc)),
        score=explanation.score,
        pieces=pieces,
        weights=[float(f"{weight:.4g}") for weight in explanation.weights[:MOST_PIECES]],
        more=len(explanation.pieces) - len(pieces),
        before=explanation.before,
        gain=gain,
    )
