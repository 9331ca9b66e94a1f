"""The plan: for every node of an experiment on one collection, whether it will be computed, how much of it, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from irkit.core.flow import flow
from irkit.exec.executor import label_of
from irkit.exec.explanations import Asked, planned
from irkit.exec.keys import Namer
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Node, merged
from irkit.store import Artifact, Recipe

Status = Literal["stored", "compute", "partly", "not needed"]


@dataclass(frozen=True)
class NodePlan:
    """What will happen to one node.

    Attributes:
        node: the node.
        label: a few words that name it.
        pipelines: the pipelines that it is part of.
        status: ``stored``; ``compute``; ``partly`` (some queries are stored); ``not needed`` (what it leads to is stored).
        queries: how many queries will be computed.
        reason: why it is computed, "" when it is not.
        builds: the kinds of artifact (index, vectors) that must be built first.
        explains: what its stage is asked to explain, for the report; None for nothing.
    """

    node: Node
    label: str
    pipelines: tuple[str, ...]
    status: Status
    queries: int = 0
    reason: str = ""
    builds: tuple[str, ...] = ()
    explains: Asked | None = None


def plan(context: Context, ends: Mapping[str, Node]) -> list[NodePlan]:
    """Plan the pipelines (by name, each given by its last node) on one collection. Loads no model and computes nothing."""
    store, namer = context.store, Namer(context)
    to_do = set(namer.pending(list(ends.values())))
    reached = {name: set(end.walk()) for name, end in ends.items()}
    stored = list(store.artifacts()) if to_do else []
    promised: set[str] = set()
    plans = []
    for node in merged(list(ends.values())):
        pipelines = tuple(name for name in ends if node in reached[name])
        label, missing = label_of(node), len(namer.missing(node)) if node in to_do else 0
        explains = planned(namer, node)
        if not missing:  # the whole is there, or its pieces are, or nothing asks for it
            here = node in to_do or namer.has(node)
            status: Status = "stored" if here else "not needed"
            plans.append(NodePlan(node, label, pipelines, status, explains=explains))
            continue
        builds = []
        for needed in node.stage.artifacts(context):
            if needed.key not in promised and store.find(needed) is None:
                promised.add(needed.key)
                builds.append(needed.kind)
        status = "compute" if missing == len(namer.query_keys) else "partly"
        reason = explain(namer.recipe(node), stored) if status == "compute" else f"{missing} new queries"
        plans.append(NodePlan(node, label, pipelines, status, missing, reason, tuple(builds), explains))
    return plans


def explain(recipe: Recipe, stored: Iterable[Artifact]) -> str:
    """Say how a recipe differs from the most similar one in the store: the reason why it must be computed."""
    spec = recipe.spec
    same = [a for a in stored if a.kind == recipe.kind and a.recipe.get("stage") == spec.get("stage")]
    if not same:
        return "never computed here"
    nearest = min((differences(artifact.recipe, spec) for artifact in same), key=len)
    others = [reason for reason in nearest if reason != _WORDS["reads"]]  # which mostly are the reason for it
    return "; ".join(others or nearest) or "other queries"


_WORDS = {
    "docs": "the documents changed",
    "upstream": "its input changed",
    "queries": "the queries it sees changed",
    "reads": "what it reads is now made otherwise",
}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: Sequence[str] = ()) -> list[str]:
    """Return in words what differs between two recipes."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, (*path, key))
        elif not path and key in _WORDS:
            found.append(_WORDS[key])
        else:
            name = ".".join([*path, key]).removeprefix("options.")
            found.append(f"{name}: {_short(before)} -> {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = "unset" if value is None else flow(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
