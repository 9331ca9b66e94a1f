"""A run beside published scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from islands import islands

from irkit.data.published import Published
from irkit.report.build import render
from irkit.report.reference import compare_with_published, reference_markdown, tally
from irkit.report.results import Results, Score

FORUMS = ("beir/cqadupstack/tex", "beir/cqadupstack/gis")


def made(**changes: Any) -> dict[str, Published]:
    source = {"url": "https://example.org/a", "citation": "Some | body", "version": "1", "date": "2026"}
    data = {"name": "theirs", "title": "Their <b>BM25", "source": source, "decimals": 4, **changes}
    return {"theirs": Published.model_validate(data)}


@pytest.fixture
def of(make: Callable[..., Results]) -> Callable[..., Results]:
    def results(values: dict[str, float], **changes: Any) -> Results:
        template = make().collections[0]
        return make(
            collections=[template.model_copy(update={"name": name}) for name in values],
            scores=[
                Score(collection=c, pipeline=p, metric="ndcg@10", value=v)
                for c, v in values.items()
                for p in ("bm25", "dense")
            ],
            stages=[],
            **changes,
        )

    return results


def test_match_near_off_and_what_has_no_published_score(of: Callable[..., Results]) -> None:
    results = of({"a": 0.50003, "b": 0.5052, "c": 0.52, "d": 0.9})
    theirs = made(scores={name: {"ndcg@10": 0.5, "recall@100": 0.9} for name in "abce"})
    found = compare_with_published(results, {"bm25": ["theirs"]}, theirs, {}, 0.0)
    assert [(each.collection, each.pipeline, each.status) for each in found] == [
        ("a", "bm25", "match"),
        ("b", "bm25", "near"),
        ("c", "bm25", "off"),
    ]
    assert tally(found) == "1 match, 1 near, 1 off"
    loose = compare_with_published(results, {"bm25": ["theirs"]}, theirs, {}, 0.006)
    assert [each.status for each in loose] == ["match", "match", "off"]


def test_the_reason_of_a_match_stands_beside_it_and_an_average_has_no_tolerance(
    of: Callable[..., Results],
) -> None:
    theirs = made(
        scores={"a": {"ndcg@10": 0.5}, "b": {"ndcg@10": 0.5}},
        averages={"two": {"ndcg@10": 0.5}},
        tolerance={"a": {"tolerance": 0.002, "reason": "ties | <b>"}},
    )
    results = of({"a": 0.501, "b": 0.501}, averages={"two": {"a": ["a"], "b": ["b"]}})
    found = compare_with_published(results, {"bm25": ["theirs"]}, theirs, {}, 0.0)
    assert [(each.kind, each.collection, each.status, each.reason) for each in found] == [
        ("collection", "a", "match", "but for ties | <b>"),
        ("collection", "b", "near", None),
        ("average", "two", "near", None),
    ]
    results = results.model_copy(update={"reference": found})
    assert "✓ match, but for ties \\| \\<b\\> (theirs)" in "\n".join(reference_markdown(results))
    page = render(results, [])
    section = page.split('<section id="reference"')[1].split("</section>")[0]
    assert "<bdi>but for ties | &lt;b&gt;</bdi>" in section and section.count("but for") == 1
    told = islands(page)["main"]["references"]
    assert [each["reason"] for each in told] == ["but for ties | <b>", None, None]


def test_a_macro_set_has_its_own_tolerance(of: Callable[..., Results]) -> None:
    tolerance = {"beir/cqadupstack": {"tolerance": 0.002, "reason": "ties"}}
    theirs = made(scores={"beir/cqadupstack": {"ndcg@10": 0.301}}, tolerance=tolerance)
    (found,) = compare_with_published(
        of({FORUMS[0]: 0.2, FORUMS[1]: 0.4}), {"dense": ["theirs"]}, theirs, {"beir/cqadupstack": FORUMS}, 0.0
    )
    assert (found.kind, found.status, found.reason) == ("set", "match", "but for ties")


def test_a_set_is_compared_when_it_is_whole(of: Callable[..., Results]) -> None:
    scores = {"beir/cqadupstack": {"ndcg@10": 0.3}, FORUMS[0]: {"ndcg@10": 0.2}, FORUMS[1]: {"ndcg@10": 0.4}}
    theirs, sets = made(scores=scores), {"beir/cqadupstack": FORUMS}
    found = compare_with_published(
        of({FORUMS[0]: 0.2, FORUMS[1]: 0.4}), {"dense": ["theirs"]}, theirs, sets, 0.0
    )
    assert [(each.kind, each.status) for each in found] == [("collection", "match")] * 2 + [("set", "match")]
    half = of({FORUMS[0]: 0.3})
    for some in (sets, {"beir/cqadupstack": FORUMS[:1]}):  # the experiment may not even name the other
        assert "set" not in [
            each.kind for each in compare_with_published(half, {"dense": ["theirs"]}, theirs, some, 0.0)
        ]


def test_an_average_is_compared_when_it_is_whole(of: Callable[..., Results]) -> None:
    theirs = made(averages={"two": {"ndcg@10": 0.4}})
    averages = {"two": {"a": ["a"], "b": ["b"]}}
    whole = of({"a": 0.3, "b": 0.5}, averages=averages)
    (found,) = compare_with_published(whole, {"bm25": ["theirs"]}, theirs, {}, 0.0)
    assert (found.kind, found.collection, found.status) == ("average", "two", "match")
    assert not compare_with_published(
        of({"a": 0.4}, averages=averages), {"bm25": ["theirs"]}, theirs, {}, 0.0
    )


def test_it_is_written_and_hostile_names_are_harmless(of: Callable[..., Results]) -> None:
    results = of({"a": 0.5, "b": 0.7})
    theirs = made(scores={"a": {"ndcg@10": 0.5}, "b": {"ndcg@10": 0.5}})
    found = compare_with_published(results, {"bm25": ["theirs"]}, theirs, {}, 0.0)
    results = results.model_copy(update={"reference": found})
    text = "\n".join(reference_markdown(results))
    assert "1 match, 0 near, 1 off" in text and "0.7000 | +0.2000" in text and "Some \\| body" in text
    page = render(results, [])
    section = page.split('<section id="reference"')[1].split("</section>")[0]
    assert "Their &lt;b&gt;BM25" in section and section.count("✗ off") == 1 and section.count("✓ match") == 1
    assert "<b>BM25" not in page and section.count("https://example.org/a") == 1
    assert 'id="reference"' not in render(of({"a": 0.5}), [])
    assert reference_markdown(of({"a": 0.5})) == []
