"""Evaluations kept in the store: the same rankings under the same judgements are evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import Rankings
from irkit.data.collection import Collection
from irkit.evaluate.metrics import evaluate, evaluation_identity
from irkit.store import Build, Recipe, Store


def evaluate_stored(
    store: Store,
    rankings: Recipe,
    load: Callable[[], Rankings],
    collection: Collection,
    metrics: Sequence[str],
) -> Mapping[str, NDArray[np.float64]]:
    """Return the values of each metric for the judged queries, ``float64[Q_judged]`` in the order of the collection.

    Args:
        store: where evaluations are kept.
        rankings: the recipe under which the rankings are stored; it identifies them.
        load: returns the rankings; called only when the store has no evaluation of them.
        collection: whose judgements and policy apply.
        metrics: canonical names.
    """
    spec = {
        "rankings": rankings.key,
        "collection": collection.fingerprint,
        "metrics": sorted(metrics),
        "identity": evaluation_identity(),
    }

    def write(build: Build) -> dict[str, Any]:
        values = evaluate(
            load(),
            collection.qrels,
            metrics,
            exclude=collection.queries.exclude,
            relevance_level=collection.policy.relevance_level,
        )
        for number, name in enumerate(spec["metrics"]):
            np.save(build.path(f"{number}.npy"), values[name], allow_pickle=False)
        return {"judged": int(next(iter(values.values())).size)}

    artifact = store.get(Recipe("evaluation", spec), write)
    return {
        name: np.load(artifact.file(f"{n}.npy"), allow_pickle=False) for n, name in enumerate(spec["metrics"])
    }
