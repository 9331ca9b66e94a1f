"""Queries as changed in the report: what is new is marked, terms are in shades, everything is escaped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from islands import islands

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


def shown(results: Results, per_query: list[PerQuery]) -> list[dict[str, Any]]:
    """What the page knows of changed queries of the first collection."""
    island = islands(render(results, per_query)).get("details-0")
    return [] if island is None else list(island["changed"])


def test_the_page_has_them(results: Results, per_query: list[PerQuery]) -> None:
    first, second = shown(results, changed(per_query, query(), query(qid="8", delta=0.25)))
    assert (first["pipeline"], first["qid"], first["query"], first["delta"]) == (
        "rm3",
        "7",
        "green tea",
        -0.4321,
    )
    assert (second["qid"], second["delta"]) == ("8", 0.25)
    prompt, rm3, prf, idle = first["steps"]
    assert prompt["words"] == [["what is ", True], ["green tea ", False], [HOSTILE, True]]
    assert prompt["told"] == ["<b>asked & told\x1b[2J"]
    assert [(term["term"], term["shade"], term["original"]) for term in rm3["terms"]] == [
        ("tea", "w10", True),
        ("<i>leaf", "w5", False),
        ("coffee", "n5", False),
        ("faint", None, None),
    ]
    assert (rm3["more"], prf["forms"]) == (3, ["vector"])
    assert [step["changed"] for step in (prompt, rm3, prf, idle)] == [True, True, True, False]


def test_without_query_stages_the_page_has_none(results: Results, per_query: list[PerQuery]) -> None:
    assert shown(results, per_query) == []


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
