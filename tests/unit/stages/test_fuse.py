from __future__ import annotations

import pytest
from pydantic import ValidationError

from irkit.core.fusion import fuse
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.stage import Batch
from irkit.stages.fuse import Fuse

A = Rankings.from_lists([[1, 2, 3], [4]], [[3, 2, 1], [9]])
B = Rankings.from_lists([[3, 1], []], [[8, 2], []])
BATCH = Batch(Queries.of(["a", "b"]), (A, B))


def test_the_default_is_rrf_60() -> None:
    assert Fuse().run(BATCH, None) == fuse([A, B], "rrf", rrf_k=60)
    assert Fuse(rrf_k=1).run(BATCH, None) == fuse([A, B], "rrf", rrf_k=1)


@pytest.mark.parametrize("method", ["combsum", "combmnz", "combmax"])
def test_scores_are_normalised_unless_told_not_to(method: str) -> None:
    assert Fuse(method=method).run(BATCH, None) == fuse([A, B], method, norm="min-max")
    assert Fuse(method=method, norm="z-score").run(BATCH, None) == fuse([A, B], method, norm="z-score")
    assert Fuse(method=method, norm="none").run(BATCH, None) == fuse([A, B], method)


def test_weights_depth_and_k() -> None:
    stage = Fuse(method="combsum", weights=[0.2, 0.8], depth=2, k=1)
    assert stage.run(BATCH, None) == fuse(
        [A.top(2), B.top(2)], "combsum", norm="min-max", weights=[0.2, 0.8]
    ).top(1)


def test_the_same_fusion_is_the_same_stage() -> None:
    assert Fuse(method="combsum") == Fuse(method="combsum", norm="min-max")
    assert hash(Fuse(weights=[1, 2])) == hash(Fuse(weights=(1.0, 2.0)))
    assert Fuse(method="combsum").meaning() == Fuse(method="combsum", norm="min-max").meaning()


@pytest.mark.parametrize("stage", [Fuse(), Fuse(method="combmnz", weights=[1, 2], k=3), Fuse(method="borda")])
def test_its_options_make_it_again(stage: Fuse) -> None:
    assert Fuse.model_validate(stage.model_dump(mode="json")) == stage
    assert Fuse.model_validate(stage.model_dump(mode="json", exclude_defaults=True)) == stage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rrff"}, "'rrf', 'combsum'"),
        ({"norm": "min-max"}, "looks at ranks"),
        ({"method": "borda", "norm": "z-score"}, "looks at ranks"),
        ({"method": "combsum", "rrf_k": 10}, "rrf_k belongs to method rrf"),
        ({"rrf_k": -1}, "greater than or equal to 0"),
        ({"weights": [1, -1]}, "greater than or equal to 0"),
        ({"weights": [0, 0]}, "not all 0"),
        ({"weights": [float("nan")]}, "weights"),
        ({"k": 0}, "greater than 0"),
        ({"depth": 0}, "greater than 0"),
        ({"of": []}, "Extra inputs"),
    ],
)
def test_refused_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Fuse.model_validate(options)


def test_check_knows_the_number_of_pipelines() -> None:
    Fuse().check(2)
    Fuse(weights=[1, 2, 3]).check(3)
    with pytest.raises(ValueError, match="2 weights for 3 rankings"):
        Fuse(weights=[1, 2]).check(3)
    with pytest.raises(ValueError, match="two or more"):
        Fuse().check(1)
