"""Queries as changed in the report: what is new is marked, terms are in shades, everything is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from irkit.report.build import render
from irkit.report.changed import changed_tables
from irkit.report.results import (
    ChangedQuery,
    ChangedTerm,
    ChangeStep,
    PerQuery,
    Results,
    load_results,
    save_results,
)

HOSTILE = "</ins><script>alert('1')</script>"


def query(pipeline: str = "rm3", qid: str = "7", **changes: object) -> ChangedQuery:
    terms = [
        ChangedTerm(term="tea", weight=0.5, original=True),
        ChangedTerm(term="<i>leaf", weight=0.25, original=False),
        ChangedTerm(term="coffee", weight=-0.25, original=False),
        ChangedTerm(term="faint", weight=0.001),
    ]
    new = f"what is green tea {HOSTILE}"
    steps = [
        ChangeStep(stage="prompt (n=1)", before="green tea", text=new, told=["<b>asked & told\x1b[2J"]),
        ChangeStep(stage="rm3", before=new, text=new, terms=terms, more=3),
        ChangeStep(stage="prf", before=new, text=new, forms=["vector"]),
        ChangeStep(stage="idle", before=new, text=new),
    ]
    whole = ChangedQuery(
        pipeline=pipeline, qid=qid, query="green tea", steps=steps, metric="ndcg@10", delta=-0.4321
    )
    return whole.model_copy(update=changes)


def changed(per_query: list[PerQuery], *queries: ChangedQuery) -> list[PerQuery]:
    first, *rest = per_query
    return [first.model_copy(update={"changed": list(queries)}), *rest]


def test_the_page_shows_them(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, changed(per_query, query(), query(qid="8", delta=0.25)))
    assert "<bdi>rm3</bdi> on <bdi>beir/scifact/test</bdi>" in html
    assert (
        'Query <bdi>7</bdi> <span class="delta down">\N{MINUS SIGN}0.4321</span>: <bdi>green tea</bdi>'
        in html
    )
    assert 'Query <bdi>8</bdi> <span class="delta up">+0.2500</span>' in html
    assert '<ins class="new">what is </ins>green tea <ins class="new">&lt;/ins&gt;&lt;script&gt;' in html
    assert (
        '<strong><bdi class="w10">tea</bdi><span class="sr"> (of the query)</span></strong> <span>0.5</span>'
        in html
    )
    assert '<li><bdi class="w5">&lt;i&gt;leaf</bdi> <span>0.25</span></li>' in html
    assert '<bdi class="n5">coffee</bdi>' in html
    assert "<li><bdi>faint</bdi>" in html
    assert "and 3 weaker terms" in html
    assert "&lt;b&gt;asked &amp; told\ufffd[2J" in html
    assert "It was given a vector." in html
    assert html.count("The query as it was.") == 2
    assert "<script>alert" not in html
    assert 'href="#changed"' in html
    assert "style=" not in html  # the page's policy would refuse it
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
    for tag in ("article", "details", "h4", "ins", "li", "p", "section", "strong", "ul"):
        assert len(re.findall(f"<{tag}[ >]", html)) == html.count(f"</{tag}>")
    levels = [int(level) for level in re.findall("<h([1-6])", html)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_without_a_baseline_no_difference_is_shown(
    make: Callable[..., Results], per_query: list[PerQuery]
) -> None:
    html = render(make(baseline=None), changed(per_query, query(delta=None, metric=None)))
    assert "Query <bdi>7</bdi>: <bdi>green tea</bdi>" in html
    assert "Beside each query stands its difference" not in html
    assert "lost most" not in html


def test_without_query_stages_there_is_no_section(results: Results, per_query: list[PerQuery]) -> None:
    html = render(results, per_query)
    assert 'id="changed"' not in html
    assert 'href="#changed"' not in html


def test_tables_are_by_collection_and_pipeline(per_query: list[PerQuery]) -> None:
    tables = changed_tables(changed(per_query, query(), query(qid="8"), query("prf")))
    assert [(each.collection, each.pipeline, len(each.queries)) for each in tables] == [
        ("beir/scifact/test", "rm3", 2),
        ("beir/scifact/test", "prf", 1),
    ]
    first, second, third, fourth = tables[0].queries[0].steps
    assert [new for _, new in first.words] == [True, False, True]
    assert second.words == ()  # the text is as the stage before left it
    assert [each.changed for each in (first, second, third, fourth)] == [True, True, True, False]


def test_branches_of_a_fusion_are_not_compared_with_each_other(per_query: list[PerQuery]) -> None:
    steps = [
        ChangeStep(stage="words", before="green tea", text="green tea leaf"),
        ChangeStep(stage="vector-prf", before="green tea", text="green tea", forms=["vector"]),
        ChangeStep(stage="words", before="green tea", text="hot green tea"),
    ]
    (table,) = changed_tables(changed(per_query, query(steps=steps)))
    views = table.queries[0].steps
    assert [each.words for each in views] == [
        (("green tea ", False), ("leaf", True)),
        (),
        (("hot ", True), ("green tea", False)),
    ]
    old = [step.model_copy(update={"before": None}) for step in steps]  # of files that do not say it
    (table,) = changed_tables(changed(per_query, query(steps=old)))
    assert table.queries[0].steps[1].words == ()


def test_they_are_kept(results: Results, per_query: list[PerQuery], tmp_path: Path) -> None:
    kept = changed(per_query, query())
    save_results(results, kept, tmp_path)
    assert load_results(tmp_path) == (results, kept)


def test_files_of_earlier_runs_are_read(results: Results, per_query: list[PerQuery], tmp_path: Path) -> None:
    save_results(results, per_query, tmp_path)
    path = tmp_path / "per_query.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for values in data["collections"]:
        assert values.pop("changed") == []
    path.write_text(json.dumps(data), encoding="utf-8")
    assert load_results(tmp_path) == (results, per_query)


def test_where_all_are_ties_these_are_the_first(results: Results, per_query: list[PerQuery]) -> None:
    ties = [query(delta=0.0), query(qid="8", delta=1e-9)]
    html = render(results, changed(per_query, *ties))
    assert 'No query won or lost on <bdi class="name">ndcg@10</bdi>: the first 2 queries.' in html
    assert "lost most" not in html and "Beside each query" not in html
    html = render(results, changed(per_query, *ties, query(pipeline="other")))
    assert html.count("No query won or lost") == html.count("Beside each query") == 1
    assert "lost most" in html


@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_a_tie_has_no_colour(results: Results, per_query: list[PerQuery], delta: float) -> None:
    html = render(results, changed(per_query, query(delta=delta)))
    assert "0.0000</span>: <bdi>green tea" in html
