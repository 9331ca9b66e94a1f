"""The explanations in the report: in shades, escaped, and not there where nothing was explained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
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


def test_the_page_shows_them(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, explained(per_query, query()))
    assert '<span class="w10" title="0.5"> tea</span>' in html
    assert '<span class="w5" title="0.25">Green</span>' in html
    assert '<span class="n5" title="-0.25"> coffee</span>' in html
    assert '</span> is not<span class="n5"' in html  # what counts for nothing is plain text
    assert '<span class="w1" title="0.05">&lt;/span&gt;&lt;script&gt;' in html
    assert "&lt;b&gt;{{ 7 * 7 }}" in html
    assert "<script>alert" not in html
    assert "Most looked at" in html
    assert "The document is empty." in html
    assert "Nothing in it stands out." in html
    assert "and 12 pieces more" in html
    assert '<span class="tag">rank 17 before</span>' in html
    assert re.findall(r'class="tag">([a-z ]*(?:relevant|judged))<', html) == [
        "relevant",
        "judged not relevant",
        "not judged",
    ]
    assert html.count(" before</span>") == 1
    assert 'href="#explained"' in html
    assert "style=" not in html  # the page's policy would refuse it


def test_every_shade_has_its_colour(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, per_query)
    for step in range(1, 11):
        assert f".w{step} {{" in html
        assert f".n{step} {{" in html


def test_the_text_begins_without_white_space(results: Results, per_query: list[PerQuery]) -> None:
    seen = one("\n", " \n tea\n", "\n is", weights=[0.5, 1.0, 0.0])
    html = render(results, explained(per_query, seen))
    assert '<p class="text" dir="auto"><span class="w10" title="1">tea\n</span>\n is</p>' in html
    html = render(results, explained(per_query, one("\n", " ", weights=[0.5, 0.0])))
    assert '<p class="text" dir="auto"></p>' in html


def test_documents_leave_no_control_characters_on_the_page(
    results: Results, per_query: list[PerQuery]
) -> None:
    seen = one("a\x1b[2J", "\x00\x9b\tb\n", "\x7f c", weights=[0.5, 1.0, 0.0], docno="d\x1b1")
    html = render(results, explained(per_query, seen))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
    assert '<span class="w5" title="0.5">a\ufffd[2J</span>' in html
    assert "\ufffd\ufffd\tb\n" in html
    assert "d\ufffd1" in html


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


def test_without_explanations_there_is_no_section(results: Results, per_query: list[PerQuery]) -> None:
    assert 'id="explained"' not in render(results, per_query)


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
    assert "candidates given in random order" in html
    assert "random order" not in render(make(), per_query)
