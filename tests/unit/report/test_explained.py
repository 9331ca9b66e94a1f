"""The explanations in the report: in shades, escaped, and not there where nothing was explained."""

from __future__ import annotations

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
        ),
        ExplainedDocument(docno="d2", score=0.0, pieces=[], weights=[]),
        ExplainedDocument(docno="d3", score=0.0, pieces=["so", " so"], weights=[0.0, 0.0], more=12),
    ]
    return ExplainedQuery(
        pipeline=pipeline, stage="icr (depth=20)", qid=qid, query="<b>{{ 7 * 7 }}", documents=documents
    )


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
    assert 'href="#explained"' in html
    assert "style=" not in html  # the page's policy would refuse it


def test_every_shade_has_its_colour(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, per_query)
    for step in range(1, 11):
        assert f".w{step} {{" in html
        assert f".n{step} {{" in html


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
