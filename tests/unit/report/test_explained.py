"""The explanations in the report: in shades, escaped, and not there where nothing was explained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from islands import islands
from pydantic import ValidationError

from irkit.report.build import render
from irkit.report.explained import explained_tables
from irkit.report.results import (
    ExplainedDocument,
    ExplainedQuery,
    PerQuery,
    Results,
    load_results,
    save_results,
)

HOSTILE = "</span><script>alert('1')</script>"


def query(pipeline: str = "bm25", qid: str = "7", **changes: object) -> ExplainedQuery:
    documents = [
        ExplainedDocument(
            docno="d<1>",
            score=0.5,
            pieces=["Green", " tea", HOSTILE, " is", " not", " coffee"],
            weights=[0.25, 0.5, 0.05, 0.0, 0.001, -0.25],
            before=17,
            gain=2,
        ),
        ExplainedDocument(docno="d2", score=0.0, pieces=[], weights=[], gain=0),
        ExplainedDocument(docno="d3", score=0.0, pieces=["so", " so"], weights=[0.0, 0.0], more=12),
    ]
    return ExplainedQuery(
        pipeline=pipeline, stage="icr (depth=20)", qid=qid, query="<b>{{ 7 * 7 }}", documents=documents
    )


def one(*pieces: str, weights: list[float], docno: str = "d") -> ExplainedQuery:
    document = ExplainedDocument(docno=docno, score=1.0, pieces=list(pieces), weights=weights)
    return query().model_copy(update={"documents": [document]})


def explained(per_query: list[PerQuery], *queries: ExplainedQuery) -> list[PerQuery]:
    first, *rest = per_query
    return [first.model_copy(update={"explained": list(queries)}), *rest]


def shown(results: Results, per_query: list[PerQuery]) -> list[dict[str, Any]]:
    """What the page knows of explained queries of the first collection."""
    island = islands(render(results, per_query)).get("details-0")
    return [] if island is None else list(island["explained"])


def test_the_page_has_them(results: Results, per_query: list[PerQuery]) -> None:
    (found,) = shown(results, explained(per_query, query()))
    assert (found["pipeline"], found["stage"], found["qid"]) == ("bm25", "icr (depth=20)", "7")
    assert found["query"] == "<b>{{ 7 * 7 }}"
    first, empty, even = found["documents"]
    assert first["spans"] == [
        ["Green", "w5", 0.25],
        [" tea", "w10", 0.5],
        [HOSTILE, "w1", 0.05],
        [" is not", None, 0.001],
        [" coffee", "n5", -0.25],
    ]
    assert (first["docno"], first["before"], first["gain"]) == ("d<1>", 17, 2)
    assert (empty["spans"], empty["gain"], even["gain"], even["more"]) == ([], 0, None, 12)
    assert even["best"] == []


def test_every_shade_has_its_colour(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, per_query)
    for step in range(1, 11):
        assert f".w{step} {{" in html
        assert f".n{step} {{" in html


def test_the_text_begins_without_white_space(results: Results, per_query: list[PerQuery]) -> None:
    seen = one("\n", " \n tea\n", "\n is", weights=[0.5, 1.0, 0.0])
    ((document,),) = [each["documents"] for each in shown(results, explained(per_query, seen))]
    assert [text for text, _, _ in document["spans"]] == ["tea\n", "\n is"]
    seen = one("\n", " ", weights=[0.5, 0.0])
    ((document,),) = [each["documents"] for each in shown(results, explained(per_query, seen))]
    assert document["spans"] == []


def luminance(colour: str) -> float:
    """Of WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_shades_are_seen_and_the_text_on_them_is_read(
    dark: bool, results: Results, per_query: list[PerQuery]
) -> None:
    html = render(results, per_query)
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", html)
    colours = {name: both[dark] for name, *both in pairs}
    for kind in ("adds", "takes"):
        least, most = colours[f"{kind}-least"], colours[f"{kind}-most"]
        # yellow on white is told by its hue; on the dark page only by being lighter
        assert contrast(least, colours["paper"]) > (1.5 if dark else 1.05)
        assert contrast(most, colours["paper"]) > 1.3 * contrast(least, colours["paper"])
        assert contrast(most, colours["ink"]) >= 4.5
    for letter in "wn":
        shares = [int(each) for each in re.findall(rf"\.{letter}\d+ {{ .*-most\) (\d+)%", html)]
        assert shares == sorted(set(shares))
        assert (len(shares), shares[0], shares[-1]) == (10, 0, 100)


def test_without_explanations_the_page_has_none(results: Results, per_query: list[PerQuery]) -> None:
    assert shown(results, per_query) == []


def test_tables_are_by_collection_pipeline_and_stage(per_query: list[PerQuery]) -> None:
    queries = (query(), query(qid="8"), query("dense"))
    tables = explained_tables(explained(per_query, *queries))
    assert [(each.collection, each.pipeline, len(each.queries)) for each in tables] == [
        ("beir/scifact/test", "bm25", 2),
        ("beir/scifact/test", "dense", 1),
    ]
    (first, empty, even) = tables[0].queries[0].documents
    assert "".join(span.text for span in first.spans) == "".join(query().documents[0].pieces)
    assert first.best[0] == ("tea</span><script>alert('1')</script>", 0.55)
    assert (empty.spans, even.best) == ((), ())


def test_they_are_kept(results: Results, per_query: list[PerQuery], tmp_path: Path) -> None:
    kept = explained(per_query, query())
    save_results(results, kept, tmp_path)
    assert load_results(tmp_path) == (results, kept)


def test_pieces_and_weights_belong_together() -> None:
    with pytest.raises(ValidationError, match="2 pieces and 1 weights of 'd'"):
        ExplainedDocument(docno="d", score=1.0, pieces=["a", "b"], weights=[1.0])


def test_order_controls_are_marked(make: Callable[..., Results], per_query: list[PerQuery]) -> None:
    html = render(make(controls={"dense": "bm25"}), per_query)
    assert '<bdi>dense</bdi> <span class="tag">order control</span>' in html
    controls = {each["name"]: each["control"] for each in islands(html)["main"]["pipelines"]}
    assert controls == {"bm25": None, "dense": "bm25", "hybrid-maxsim": None}
