"""Whether the forms of a query that stages give it are taken by those after them, in the space in which they were made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from irkit.pipeline.stage import QueryStage

if TYPE_CHECKING:
    from irkit.pipeline.graph import Node

Misfit = tuple["Node", str, str]
"""(where, message, hint)"""


def form_misfits(end: Node) -> Iterator[Misfit]:
    """Yield what does not fit: a form that nobody takes changes nothing, and one of another space means something else there."""
    nodes = list(end.walk())
    for maker in nodes:
        if isinstance(maker.stage, QueryStage):
            yield from _of(maker, maker.stage, nodes)


def _of(maker: Node, stage: QueryStage, nodes: Sequence[Node]) -> Iterator[Misfit]:
    seen = [(form, node) for form in stage.gives for node in _seers(maker, form, nodes)]
    taken = [(form, node) for form, node in seen if _takes(node, form)]
    declined = [
        (form, node, why)
        for form, node in seen
        if form in node.stage.takes and not _makes(node, form) and (why := node.stage.declines(form))
    ]
    for form, node, why in declined:
        message = f"{node.stage.name!r} takes no {form} with {why}, and {stage.name!r} gives the query some"
        yield node, message, "change that option, or put reset before it, so that it sees the query's text"
    if not taken and not declined:
        message = f"no stage after {stage.name!r} takes the {' and '.join(stage.gives)} that it gives a query"
        yield maker, message, _hint(seen)
    for form, node in taken:
        yield from _elsewhere(stage, node, form)


def _seers(maker: Node, form: str, nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield every node that sees a form as ``maker`` made it: it goes on until a query stage makes that form or the text anew."""
    for node in nodes:
        if node.queries == maker:
            yield node
            if isinstance(node.stage, QueryStage) and not _makes(node, form) and not _makes(node, "text"):
                yield from _seers(node, form, nodes)


def _takes(node: Node, form: str) -> bool:
    return form in node.stage.takes and node.stage.declines(form) is None


def _makes(node: Node, form: str) -> bool:
    return isinstance(node.stage, QueryStage) and form in node.stage.gives


def _hint(seen: Sequence[tuple[str, Node]]) -> str:
    for form, node in seen:
        if _makes(node, "text"):
            return f"{node.stage.name!r} gives the query its text anew, and drops what was there: put a retriever between the two"
        if _makes(node, form):
            return f"{node.stage.name!r} makes a {form} of the text, and drops this one: put it first, or leave one of them out"
    return "put one after it: bm25 takes terms, dense a vector, maxsim tokens"


def _elsewhere(stage: QueryStage, taker: Node, form: str) -> Iterator[Misfit]:
    """Yield where the options of a maker and a taker tell that they mean different spaces."""
    ours, theirs = stage.space_of(form), taker.stage.space_of(form)
    other = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    if other:
        gives, takes = (
            ", ".join(f"{name}: {json.dumps(space[name])}" for name in other) for space in (ours, theirs)
        )
        message = f"{taker.stage.name!r} has {takes}, and {stage.name!r}, whose {form} it takes, has {gives}"
        yield taker, message, f"give both stages the same {' and '.join(other)}"
