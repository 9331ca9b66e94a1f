from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from irkit.core.queries import Queries
from irkit.core.rankings import Rankings
from irkit.pipeline.stage import Batch
from irkit.stages.query.feedback import FeedbackStage
from irkit.stages.query.gate import Gate

SCORES = [[10.0, 9.0, 8.0, 1.0], [10.0, 2.0, 1.0], [], [0.0, -1.0], [-1.0, -2.0]]
RANKINGS = Rankings.from_lists([list(range(len(each)))[::-1] for each in SCORES], SCORES)


class Believing(FeedbackStage):
    def run(self, batch: Batch, state: object) -> Queries:
        return batch.queries


def context(documents: int = 4) -> SimpleNamespace:
    return SimpleNamespace(counts=Counter(), notes={}, collection=SimpleNamespace(docs=range(documents)))


def test_flatness_is_the_mean_of_the_first_scores_over_the_first() -> None:
    assert Gate(depth=3).flatness(np.array(SCORES[0], np.float32)) == pytest.approx(0.9)
    assert Gate(depth=100).flatness(np.array(SCORES[1], np.float32)) == pytest.approx(13 / 30)


def test_a_query_is_believed_from_the_least_value_on_and_never_without_a_positive_score() -> None:
    assert Gate(depth=3, least=0.9).trusts(RANKINGS).tolist() == [True, False, False, False, False]
    assert Gate(depth=3, least=0.91).trusts(RANKINGS).tolist() == [False] * 5
    assert Gate(depth=3, least=0).trusts(RANKINGS).tolist() == [True, True, False, False, False]


def test_feedback_counts_what_the_gate_decided() -> None:
    here = context()

    assert Believing().believed(RANKINGS, here).tolist() == [True, True, False, True, True]  # type: ignore[arg-type]
    assert not here.counts
    stage = Believing(gate=Gate(depth=3, least=0.9))
    assert stage.believed(RANKINGS, here).tolist() == [True, False, False, False, False]  # type: ignore[arg-type]
    assert here.counts == {"gate/changed it": 1, "gate/kept the query": 3}
    assert not here.notes


def test_what_the_default_threshold_was_chosen_for_is_noted() -> None:
    here = context()
    Believing(gate=Gate(depth=3)).believed(RANKINGS, here)  # type: ignore[arg-type]
    assert here.notes == {"the gate's threshold": "was chosen for BM25's scores and cosines"}


def test_a_list_too_short_to_judge_is_noted_unless_the_collection_has_no_more() -> None:
    few, many = context(4), context(50)
    stage = Believing(gate=Gate(least=0.6))

    stage.believed(RANKINGS, few)  # type: ignore[arg-type]
    stage.believed(RANKINGS, many)  # type: ignore[arg-type]

    assert not few.notes
    assert many.notes == {"the gate's list": "looks at 100 documents, and was given 4 at most"}


def test_no_documents_are_no_feedback() -> None:
    assert not Believing(fb_docs=0).believed(RANKINGS, context()).any()  # type: ignore[arg-type]


def test_a_query_that_is_kept_is_told_why() -> None:
    stage = Believing(gate=Gate(depth=3, least=0.9))
    believed = stage.believed(RANKINGS, context())  # type: ignore[arg-type]
    assert stage.kept("prf", RANKINGS, believed) == [
        "",
        "prf: the query as it was, for the gate does not believe its documents",
        "prf: the query as it was, for it has no documents",
        "prf: the query as it was, for the gate does not believe its documents",
        "prf: the query as it was, for the gate does not believe its documents",
    ]
    none = Believing(fb_docs=0)
    believed = none.believed(RANKINGS, context())  # type: ignore[arg-type]
    assert none.kept("prf", RANKINGS, believed) == ["prf: the query as it was, for fb_docs is 0"] * 5


@pytest.mark.parametrize("options", [{"depth": 0}, {"least": float("nan")}, {"least": 1.1}])
def test_a_gate_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Gate(**options)  # type: ignore[arg-type]
