"""What a node's results are called in the store.

A node's recipe holds the stage with its meaningful options, the models and versions it names, the keys of the artifacts that it
reads, the content of the documents, and the recipes of its inputs. An artifact's key holds the numbers of the code that makes it
(``ENCODING``, say), so no result outlives what it was made from, and no stage has to think of that. The queries are not in the
recipe: results are kept per query, under a key of the query's text and exclusions, so that a collection with more queries
computes only the new ones. A query stage's output is a function of the collection's query, so the nodes after it use the same
per-query keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from irkit.exec.results import read_keys
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node
from irkit.pipeline.stage import Stage
from irkit.store import Recipe

FORMAT = 1
"""Of stored results and their manifests; it counts up when either changes, and older results are then not looked at."""


class Namer:
    """Names the results of nodes on one collection."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._recipes: dict[Node, Recipe] = {}
        self._decided: dict[Stage, dict[str, Any]] = {}

    @cached_property
    def query_keys(self) -> list[str]:
        """The key of each query of the collection."""
        return self.context.collection.queries.keys()

    @cached_property
    def part(self) -> str:
        """The name of the collection's whole query set."""
        return part_of(self.query_keys)

    def recipe(self, node: Node) -> Recipe:
        """Return the recipe of a node's results over all the collection's queries."""
        if node not in self._recipes:
            stage = node.stage
            if stage not in self._decided:
                self._decided[stage] = {
                    "identity": dict(stage.identity(self.context)),
                    "reads": [recipe.key for recipe in stage.opens(self.context)],
                }
            spec = {
                "format": FORMAT,
                "stage": stage.name,
                "code": stage.origin,
                "version": stage.cache_version,
                "options": stage.meaning(),
                **self._decided[stage],
                "docs": self.context.collection.docs_fingerprint,
                "queries": self.recipe(node.queries).base if node.queries else None,
                "upstream": [self.recipe(each).base for each in node.upstream],
            }
            self._recipes[node] = Recipe(stage.produces, spec, self.part)
        return self._recipes[node]

    def has(self, node: Node) -> bool:
        """Whether the store has the node's results for the collection's query set."""
        return self.context.store.find(self.recipe(node)) is not None

    def missing(self, node: Node) -> list[int]:
        """Return the rows of the queries for which the store has no result of the node, whatever set they were part of."""
        known = {
            key
            for sibling in self.context.store.siblings(self.recipe(node))
            for key in read_keys(sibling.path)
        }
        return [row for row, key in enumerate(self.query_keys) if key not in known]

    def pending(self, ends: Sequence[Node]) -> list[Node]:
        """Return the nodes that must be computed or put together for ``ends``, inputs first.

        Nothing above a node whose results are all stored is needed.
        """
        order: dict[Node, None] = {}

        def visit(node: Node) -> None:
            if node in order or self.has(node):
                return
            if self.missing(node):
                for each in node.inputs:
                    visit(each)
            order[node] = None

        for end in ends:
            visit(end)
        return list(order)


def part_of(keys: list[str]) -> str:
    """Return the name of a list of query keys."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
