"""What stands at the head of a run file: ir_metadata (https://www.ir-metadata.org), schema 0.1, in its PRIMAD groups.

Platform, research goal, implementation, method, actor and data. Nothing of it depends on when or how a run was started, so the same
experiment writes the same file again. The actor is left empty: irkit does not know who you are, and does not look.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from irkit.config.experiment import Experiment
from irkit.data.collection import Collection
from irkit.pipeline.graph import pipelines_to_data
from irkit.report.provenance import versions

SCHEMA = 0.1


def run_metadata(experiment: Experiment, pipeline: str, collection: Collection, name: str) -> dict[str, Any]:
    """Return the metadata of a pipeline's run file as plain YAML values.

    Args:
        experiment: whose pipeline it is.
        pipeline: its name.
        collection: what it ran on.
        name: what the experiment calls the collection.
    """
    statistics = experiment.statistics
    evaluation: dict[str, Any] = {"reported measures": list(experiment.metrics)}
    if experiment.baseline is not None:
        evaluation["baseline"] = [experiment.baseline]
    evaluation["significance test"] = [{"name": statistics.test, "correction method": statistics.corrected}]
    steps = pipelines_to_data({pipeline: experiment.pipelines[pipeline]})[pipeline]
    return {
        "schema version": SCHEMA,
        "platform": {
            "hardware": {"cpu": {"architecture": platform.machine()}},
            "operating system": {"platform": platform.system(), "kernel": platform.release()},
            "software": {
                "python": platform.python_version(),
                "libraries": {"python": [f"{package}=={found}" for package, found in versions().items()]},
            },
        },
        "research goal": {"experiment": experiment.name, "evaluation": evaluation},
        "implementation": {"name": "irkit", "version": version("irkit"), "lang": ["Python"]},
        "method": {
            "automatic": True,
            "score ties": "reverse alphabetical order",
            "retrieval": [_step(step) for step in steps],
        },
        "actor": {},
        "data": {
            "test collection": {
                "name": name,
                "documents": len(collection.docs),
                "queries": len(collection.queries),
                "fingerprint": collection.fingerprint,
            }
        },
    }


def _step(step: Any) -> dict[str, Any]:
    """Return a stage as ir_metadata writes one: its name beside its options."""
    if not isinstance(step, dict):
        return {"name": step}
    ((name, options),) = step.items()
    return (
        {"name": name, **(options or {})}
        if "name" not in (options or {})
        else {"name": name, "options": options}
    )
