"""What a node's results are called: no result outlives what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from irkit.exec.keys import Namer
from irkit.pipeline import registry
from irkit.pipeline.context import Context
from irkit.pipeline.graph import Pipeline
from irkit.pipeline.stage import Stage
from irkit.stages import encoding
from irkit.stages.dense import Dense
from irkit.stages.multivector import fde_index, ivf, reduce
from irkit.stages.multivector.colberter import Colberter
from irkit.stages.multivector.maxsim import MaxSim
from irkit.stages.multivector.muvera import Muvera
from irkit.stages.multivector.xtr import Xtr

MakeContext = Callable[..., Context]
STAGES: dict[str, type[Stage]] = {
    "dense": Dense,
    "maxsim": MaxSim,
    "muvera": Muvera,
    "xtr": Xtr,
    "colberter": Colberter,
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    for name, stage in STAGES.items():
        if name in registry.stage_names():
            registry.stage_class(name)
        else:
            registry.register(name)(stage)
    yield


def keys(stage: Stage, context: Context) -> tuple[str, list[str]]:
    """The key of a stage's results, and those of what it reads."""
    results = Namer(context).recipe(Pipeline.of(stage).graph()).key
    return results, [recipe.key for recipe in stage.opens(context)]


POOLED = {"pool": 2}


@pytest.mark.parametrize(
    ("module", "number", "name", "options"),
    [
        (encoding, "ENCODING", "dense", {}),
        (encoding, "ENCODING", "maxsim", {}),
        (encoding, "ENCODING", "maxsim", {"tokens": POOLED}),
        (encoding, "ENCODING", "xtr", {"index": "exact"}),
        (encoding, "ENCODING", "colberter", {}),
        (encoding, "ENCODING", "colberter", {"weight": 1.0}),
        (reduce, "REDUCTION", "maxsim", {"tokens": POOLED}),
        (reduce, "REDUCTION", "muvera", {"tokens": POOLED}),
        (reduce, "REDUCTION", "xtr", {"tokens": POOLED}),
        (reduce, "REDUCTION", "xtr", {"tokens": POOLED, "index": "exact", "keep_raw": False}),
        (reduce, "REDUCTION", "colberter", {}),
        (ivf, "LAYOUT", "xtr", {}),
        (fde_index, "FDE", "muvera", {}),
        (fde_index, "FDE", "muvera", {"index": "pq"}),
    ],
)
def test_a_number_that_changes_an_artifact_changes_the_results_key(
    make_context: MakeContext,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    number: str,
    name: str,
    options: dict[str, Any],
) -> None:
    context, stage = make_context(["cat", "dog"]), STAGES[name](model=str(tiny_encoder), **options)  # type: ignore[call-arg]
    results, read = keys(stage, context)
    assert keys(stage, context) == (results, read)
    monkeypatch.setattr(module, number, getattr(module, number) + 1)
    changed, now_read = keys(stage, context)
    assert changed != results
    assert now_read[-1] != read[-1]


@pytest.mark.parametrize("name", ["maxsim", "muvera", "xtr", "colberter"])
def test_what_is_only_kept_besides_is_no_part_of_the_key(
    make_context: MakeContext, tiny_encoder: Path, name: str
) -> None:
    context = make_context(["cat", "dog"])
    kept, lean = (
        STAGES[name](model=str(tiny_encoder), tokens={"pool": 2}, keep_raw=keep_raw)  # type: ignore[call-arg]
        for keep_raw in (True, False)
    )
    assert keys(kept, context) == keys(lean, context)
    assert [each.kind for each in kept.artifacts(context)].count("tokens") == 1  # but the plan announces it
    assert "tokens" not in [each.kind for each in kept.opens(context)]


def test_an_option_of_an_artifact_that_another_pipeline_shares_leaves_it_alone(
    make_context: MakeContext, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, stage = make_context(["cat"]), MaxSim(model=str(tiny_encoder))
    before = keys(stage, context)
    monkeypatch.setattr(reduce, "REDUCTION", reduce.REDUCTION + 1)  # nothing is reduced
    monkeypatch.setattr(ivf, "LAYOUT", ivf.LAYOUT + 1)
    assert keys(stage, context) == before
