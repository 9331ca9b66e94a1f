"""Named averages: what they are taken over, and what they say when members are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from irkit.report.averages import average_scores, named_averages
from irkit.report.build import render
from irkit.report.results import CollectionInfo, Results, Score
from irkit.report.scores import score_tables
from irkit.report.text import markdown, terminal_tables

FORUMS = ("beir/cqadupstack/tex", "beir/cqadupstack/gis")
VALUES = {"beir/nq": 0.3, "beir/scifact/test": 0.7, FORUMS[0]: 0.2, FORUMS[1]: 0.4}
DEFINED = {
    "both": {"beir/nq": ["beir/nq"], "beir/scifact/test": ["beir/scifact/test"]},
    "all": {
        "beir/nq": ["beir/nq"],
        "beir/scifact/test": ["beir/scifact/test"],
        "beir/cqadupstack": list(FORUMS),
    },
}


@pytest.fixture
def some(make: Callable[..., Results]) -> Callable[..., Results]:
    """Make results over some collections: one pipeline of the scores above, another of half of them."""

    def of(values: Mapping[str, float], **changes: Any) -> Results:
        template = make().collections[0]
        infos: list[CollectionInfo] = [
            template.model_copy(
                update={
                    "name": name,
                    "policy": {"drop_self": False, "macro": "beir/cqadupstack" if name in FORUMS else None},
                }
            )
            for name in values
        ]
        scores = [
            Score(collection=name, pipeline=pipeline, metric="ndcg@10", value=value * share)
            for name, value in values.items()
            for pipeline, share in (("bm25", 1.0), ("dense", 0.5))
        ]
        rest = {"averages": DEFINED, "expected": [], "metrics": ["ndcg@10"], **changes}
        return make(collections=infos, scores=scores, stages=[], **rest)

    return of


def test_a_set_counts_once(some: Callable[..., Results]) -> None:
    both, every = named_averages(some(VALUES))
    assert both.values["bm25", "ndcg@10"] == pytest.approx(0.5)
    assert every.values["bm25", "ndcg@10"] == pytest.approx((0.3 + 0.7 + (0.2 + 0.4) / 2) / 3)
    assert every.values["dense", "ndcg@10"] == pytest.approx(every.values["bm25", "ndcg@10"] / 2)
    assert (every.title, every.of) == ("all", 3)


def test_missing_members_are_counted_and_half_a_set_is_no_set(some: Callable[..., Results]) -> None:
    half = {name: value for name, value in VALUES.items() if name in ("beir/nq", FORUMS[0])}
    both, every = named_averages(some(half))
    assert (both.title, both.members) == ("both (1 of 2)", ("beir/nq",))
    assert (every.title, every.members) == ("all (1 of 3)", ("beir/nq",))
    assert every.values["bm25", "ndcg@10"] == pytest.approx(0.3)
    assert named_averages(some({FORUMS[0]: 0.2})) == []


def test_a_pipeline_without_a_score_on_a_member_has_no_average(some: Callable[..., Results]) -> None:
    whole = some(VALUES)
    without = [s for s in whole.scores if (s.collection, s.pipeline) != ("beir/nq", "dense")]
    both, _ = named_averages(whole.model_copy(update={"scores": without}))
    assert set(both.values) == {("bm25", "ndcg@10")}


def test_they_stand_in_every_output_in_place_of_the_unnamed_mean(some: Callable[..., Results]) -> None:
    results = some({name: value for name, value in VALUES.items() if name not in FORUMS})
    assert [table.name for table in score_tables(results)][-2:] == ["both", "all (2 of 3)"]
    assert "Mean" in [table.name for table in score_tables(some(VALUES, averages={}))]
    kinds = {table.name: (table.kind, table.of) for table in score_tables(results)}
    assert kinds["both"] == ("average", "both") and kinds["all (2 of 3)"] == ("average", "all")
    parts = {
        table.name: dict(zip(table.members, table.parts, strict=True)) for table in score_tables(some(VALUES))
    }
    assert parts["all"]["beir/nq"] == ("beir/nq",) and tuple(FORUMS) in parts["all"].values()
    text = markdown(results)
    assert "## both over beir/nq, beir/scifact/test" in text and "## all (2 of 3) over beir/nq" in text
    assert "0.5000" in text.split("## both")[1].split("##")[0]
    titles = [str(table.title) for table in terminal_tables(results)]
    assert any(title.startswith("all (2 of 3) over") for title in titles)
    page = render(results, [])
    assert "<bdi>all (2 of 3)</bdi>" in page
    found = {(s.average, s.pipeline): (s.value, s.members, s.of) for s in average_scores(results)}
    assert found["all", "bm25"] == (pytest.approx(0.5), 2, 3) and found["both", "dense"][1:] == (2, 2)


def test_results_of_before_there_were_averages_are_read(results: Results) -> None:
    data = results.model_dump(mode="json")
    for key in ("averages", "average_scores", "reference", "kept"):
        del data[key]
    assert Results.model_validate(data) == results
