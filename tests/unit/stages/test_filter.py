from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from irkit.core.errors import ConfigError
from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.stage import Batch
from irkit.stages.filter import Cutoff, Filter

RANKINGS = Rankings.from_lists([[0, 1, 2], [2], []], [[0.5, 0.1, 0.9], [-1.0], []])
BATCH = Batch(Queries.of(["a", "b", "c"]), (RANKINGS,))
NAMES = ["a b", "c", "d"]


def context() -> Any:
    docs = SimpleNamespace(code=lambda docno: NAMES.index(docno) if docno in NAMES else None)
    return SimpleNamespace(collection=SimpleNamespace(docs=docs))


def kept(**options: Any) -> list[list[int]]:
    stage = Filter(**options)
    result = stage.run(BATCH, stage.prepare(context()))
    for (doc, score), (all_docs, all_scores) in zip(result, RANKINGS, strict=True):
        before = dict(zip(all_docs.tolist(), all_scores.tolist(), strict=True))
        assert all(before[d] == s for d, s in zip(doc.tolist(), score.tolist(), strict=True)), "scores stay"
    return [doc.tolist() for doc, _ in result]


def test_cutoff() -> None:
    assert Cutoff(k=1).run(BATCH, None) == RANKINGS.top(1)
    assert Cutoff(k=9).run(BATCH, None) == RANKINGS
    for bad in (0, -1):
        with pytest.raises(ValidationError, match="greater than 0"):
            Cutoff(k=bad)


def test_min_score_is_kept_and_compared_as_float32() -> None:
    assert kept(min_score=0.5) == [[2, 0], [], []]
    assert kept(min_score=0.1) == [[2, 0, 1], [], []]  # float32(0.1) > 0.1, and 0.1 is meant
    assert kept(min_score=-5) == [[2, 0, 1], [2], []]
    assert kept(min_score=0.9) == [[2], [], []]  # float32(0.9) < 0.9


def test_include_and_exclude() -> None:
    assert kept(include=["a b", "c"]) == [[0, 1], [], []]
    assert kept(include=[]) == [[], [], []]
    assert kept(exclude=["d"]) == [[0, 1], [], []]
    assert kept(exclude=["d"], min_score=0.3) == [[0], [], []]
    assert kept(include=["d", "c"], exclude=["a b"]) == [[2, 1], [2], []]


def test_unknown_ids_are_named_together() -> None:
    stage = Filter(include=["c", "zz"], exclude=["yy", *"12345"])
    with pytest.raises(ConfigError) as caught:
        stage.prepare(context())
    include, exclude = caught.value.problems
    assert (include.where, include.message) == ("filter.include", "the collection has no document 'zz'")
    assert exclude.where == "filter.exclude"
    assert "'yy', '1', '2', '3', '4' and 1 more" in exclude.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "drops nothing"),
        ({"exclude": []}, "drops nothing"),
        ({"min_score": float("nan")}, "finite"),
        ({"include": ["a", "b"], "exclude": ["b"]}, "'b' is in include and in exclude"),
        ({"minscore": 1}, "Extra inputs"),
    ],
)
def test_refused_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Filter.model_validate(options)
