"""irkit: neural information retrieval with reranking.

Every stage of a retrieval experiment is declared, in YAML or in Python, and runs over any collection::

    import irkit

    hybrid = irkit.bm25(k=100) + irkit.dense(model="minilm", k=100)
    experiment = irkit.Experiment.of(
        "mine", collections=["irkit/limit-synthetic"], metrics=["recall@2"], pipelines={"hybrid": hybrid}
    )
    results, folder = irkit.run(experiment)

A stage is a function of its options here: ``irkit.bm25``, ``irkit.dense``, ``irkit.cross_encoder``; installed plug-in stages too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.api.compare import compare
    from irkit.api.run import run
    from irkit.api.workspace import Workspace
    from irkit.config.experiment import Experiment, load_experiment
    from irkit.core.errors import IrkitError
    from irkit.core.queries import Queries
    from irkit.core.rankings import Rankings
    from irkit.pipeline.graph import Pipeline, fuse
    from irkit.pipeline.registry import make_stage, register
    from irkit.pipeline.stage import Stage

__version__ = version("irkit")

# On some of Intel's processors MKL adds up products in an order that the number of threads decides, unless it is told before its
# first one; it costs nothing that could be measured. irkit's vectors are the same bits for any number (irkit.models.batching).
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

_HOMES = {
    "run": "irkit.api.run",
    "compare": "irkit.api.compare",
    "Workspace": "irkit.api.workspace",
    "Experiment": "irkit.config.experiment",
    "load_experiment": "irkit.config.experiment",
    "IrkitError": "irkit.core.errors",
    "Queries": "irkit.core.queries",
    "Rankings": "irkit.core.rankings",
    "Pipeline": "irkit.pipeline.graph",
    "fuse": "irkit.pipeline.graph",
    "make_stage": "irkit.pipeline.registry",
    "register": "irkit.pipeline.registry",
}

__all__ = [
    "Experiment",
    "IrkitError",
    "Pipeline",
    "Queries",
    "Rankings",
    "Workspace",
    "__version__",
    "compare",
    "fuse",
    "load_experiment",
    "make_stage",
    "register",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import irkit`` itself loads almost nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_"):
        stage = {found.replace("-", "_"): found for found in _stages()}.get(name)
        if stage:
            return _maker(stage)
        from irkit.core.errors import nearest

        raise AttributeError(f"irkit has no stage or name {name!r}: {nearest(name, __dir__())}")
    raise AttributeError(f"module 'irkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name.replace("-", "_") for name in _stages())})


def _stages() -> list[str]:
    from irkit.pipeline.registry import stage_names

    return stage_names()


def _maker(name: str) -> Callable[..., Stage]:
    """Return the function that makes a stage, with the options and the documentation of its class."""
    from irkit.pipeline.registry import make_stage, stage_class

    loaded = stage_class(name)

    def make(**options: Any) -> Stage:
        return make_stage(name, **options)

    make.__name__ = make.__qualname__ = name.replace("-", "_")
    make.__doc__ = loaded.__doc__
    make.__signature__ = signature(loaded)  # type: ignore[attr-defined]
    return make
