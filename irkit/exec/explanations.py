"""What stages saw in the documents of some queries, kept beside their results: an artifact of its own, so that asking for it
later, or for more of it, computes no result again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from irkit.core.errors import StageError
from irkit.core.explanation import Explains, Explanation
from irkit.exec.keys import Namer, part_of
from irkit.pipeline.graph import Node
from irkit.store import Build, Recipe

if TYPE_CHECKING:
    from irkit.exec.executor import Executor

TOP = 3
"""Documents of a query that are explained."""
FORMAT = 2
_FILE = "explanations.json"


def asked(node: Node) -> int:
    """Return for how many of the collection's first queries a node's stage is to explain its results (option ``explanations``)."""
    return int(getattr(node.stage, "explanations", 0)) if isinstance(node.stage, Explains) else 0


@dataclass(frozen=True)
class Asked:
    """What a node's stage is asked to explain.

    Attributes:
        queries: of how many queries.
        documents: how many at most: a query may have fewer.
        stored: whether the store has all of it.
    """

    queries: int
    documents: int
    stored: bool


def planned(namer: Namer, node: Node) -> Asked | None:
    """Return what a node's stage will be asked to explain; None for nothing. Loads and computes nothing."""
    queries = len(namer.query_keys[: asked(node)])
    if not queries:
        return None
    return Asked(queries, queries * TOP, namer.context.store.find(recipe(namer, node)) is not None)


def recipe(namer: Namer, node: Node) -> Recipe:
    """Return what the explanations that a node's stage is asked for are called in the store."""
    spec = {"format": FORMAT, "of": namer.recipe(node).base, "top": TOP}
    return Recipe("explanations", spec, part_of(namer.query_keys[: asked(node)]))


def explanations(executor: Executor, node: Node) -> list[list[Explanation]]:
    """Return the explanations that a node's stage is asked for: of each of the first queries, the best documents' in order.

    Raises:
        StageError: when a weight is not a finite number.
    """
    keys = executor.namer.query_keys[: asked(node)]
    if not keys:
        return []

    def write(build: Build) -> Mapping[str, Any]:
        found = executor.explain(node, range(len(keys)), TOP)
        _check(node, found)
        data = [[asdict(each) for each in of_query] for of_query in found]
        build.path(_FILE).write_text(json.dumps(data), encoding="ascii")
        return {"queries": len(keys)}

    artifact = executor.context.store.get(recipe(executor.namer, node), write)
    data = json.loads((artifact.path / _FILE).read_text(encoding="ascii"))
    return [
        [
            Explanation(
                each["doc"], each["score"], tuple(each["pieces"]), tuple(each["weights"]), each["before"]
            )
            for each in of_query
        ]
        for of_query in data
    ]


def _check(node: Node, found: list[list[Explanation]]) -> None:
    for of_query in found:
        for each in of_query:
            if not all(map(math.isfinite, (each.score, *each.weights))):
                raise StageError.of(
                    "a weight of an explanation is not a finite number",
                    where=f"stage {node.stage.name!r}",
                    hint="is the model sound? half precision overflows, float32 does not",
                )
