"""Query by query: the list, the strip, and which query they choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from made_up import MadeUp, experiment

from irkit.report.pairs import differences, families
from irkit.report.results import PerQuery
from irkit.report.values import packed_values

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINUS = "\N{MINUS SIGN}"
BOTH = "explorer?pipeline=hybrid-rerank&other=bm25"


def settled(page: Page) -> None:
    """Wait until all views have followed a choice."""
    page.wait_for_selector("html:not([data-busy])")


def _deltas(
    table: PerQuery, metric: str = "ndcg@10", ours: str = "hybrid-rerank", other: str = "bm25"
) -> Any:
    found = packed_values(table, [ours, other])
    assert found is not None
    values, rows = np.array(found["metrics"][metric]["values"]), found["metrics"][metric]["rows"]
    return differences(values[rows[0]], values[rows[1]])


def _listed(page: Page) -> list[str]:
    settled(page)
    return page.locator("#explorer-view .list tbody th button").all_inner_texts()


def _told(delta: float) -> str:
    text = f"{abs(delta):.4f}"
    return text if float(text) == 0 else ("+" if delta > 0 else MINUS) + text


def _title(page: Page) -> str:
    settled(page)
    return page.locator("#query-title").inner_text()


def test_queries_are_listed_by_difference(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH)
    table = made.per_query[0]
    deltas = _deltas(table)
    order = np.argsort(deltas, kind="stable")
    assert _listed(page) == [table.qid[row] for row in order]
    first = page.locator("#explorer-view .list tbody tr").first.locator("td.num").all_inner_texts()
    ours, other = (table.values[each]["ndcg@10"][order[0]] for each in ("hybrid-rerank", "bm25"))
    assert first == [f"{ours:.4f}", f"{other:.4f}", _told(deltas[order[0]])]
    page.locator("#explorer-view .list thead button", has_text="Difference").click()
    settled(page)
    assert _listed(page)[0] == table.qid[int(np.argmax(deltas))]
    assert page.evaluate("document.activeElement.textContent") == "Difference"
    page.locator("#explorer-view .list thead button", has_text="Query").click()
    settled(page)
    assert _listed(page)[:3] == ["q0", "q1", "q2"]
    page.locator("#explorer-view .list thead button", has_text="Query").click()
    settled(page)
    assert _listed(page)[0] == "q39"


def test_another_metric_has_other_differences(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH)
    page.locator("#explorer-view select[data-key=metric]").select_option("recall@100")
    settled(page)
    deltas = np.sort(_deltas(made.per_query[0], "recall@100"))
    shown = page.locator("#explorer-view .list tbody td.delta")
    page.locator("#explorer-view .list caption", has_text="recall").wait_for(state="attached")
    assert shown.all_inner_texts() == [_told(each) for each in deltas]


def test_wins_losses_and_ties(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH)
    deltas, qid = _deltas(made.per_query[0]), made.per_query[0].qid
    chosen = page.locator("#explorer-view select[data-key=queries]")
    for key, rows in {"won": deltas > 1e-9, "lost": deltas < -1e-9, "tied": np.abs(deltas) <= 1e-9}.items():
        chosen.select_option(key)
        settled(page)
        assert sorted(_listed(page)) == sorted(q for q, row in zip(qid, rows, strict=True) if row)
        assert chosen.locator("option:checked").inner_text() == f"{key} ({rows.sum()})"
        assert f"{rows.sum()} {key}" in page.locator("#explorer-view .ends").inner_text()
    chosen.select_option("details")
    settled(page)
    assert sorted(_listed(page)) == sorted(query.qid for query in made.details[0].queries)


def test_what_the_tests_call_tied_is_tied_here(open_report: Any) -> None:
    made = experiment(pipelines=2, collections=1, queries=4, metrics=["ndcg@10"])
    base = [0.5, 0.5, 0.1234565, 1 / 3]
    moved = [0.5 + 0.9e-9, 0.5 + 2e-9, 0.1234565 - 3e-7, 1 / 3 + 1e-16]
    values = {"bm25": {"ndcg@10": base}, "dense": {"ndcg@10": moved}}
    table = made.per_query[0].model_copy(update={"values": values})
    page = open_report(made.results, [table], at="explorer?pipeline=dense&other=bm25")
    told = page.locator("#explorer-view .ends").inner_text()
    assert [each in told for each in ("1 lost", "2 tied", "1 won")] == [True] * 3
    (pair,) = families(made.results.model_copy(update={"metrics": ["ndcg@10"]}), [table])[0].pairs
    assert (pair.losses, pair.ties, pair.wins) == (1, 2, 1)
    chosen = page.locator("#explorer-view select[data-key=queries]")
    for key, listed in {"lost": ["q2"], "tied": ["q0", "q3"], "won": ["q1"]}.items():
        chosen.select_option(key)
        assert sorted(_listed(page)) == listed


def test_a_text_that_was_cut_goes_on_and_places_are_no_scores(open_report: Any) -> None:
    made = experiment(pipelines=2, collections=1)
    whole = made.details[0]
    first = whole.queries[0]
    hits = {name: each.model_copy(update={"scores": []}) for name, each in first.hits.items()}
    cut = first.model_copy(update={"text": "a long", "more": True, "hits": hits})
    details = whole.model_copy(update={"queries": [cut, *whole.queries[1:]]})
    tables = [each.model_copy(update={"explained": []}) for each in made.per_query]
    page = open_report(made.results, tables, made.funnels, [details], at=f"explorer?qid={cut.qid}")
    assert page.locator("#explorer-view .asked").inner_text() == "a long …"
    assert page.locator("#explorer-view .hits li").count() > 0
    assert "score" not in page.locator("#explorer-view .hits").first.inner_text()
    page.evaluate("(qid) => state.set({ qid })", whole.queries[1].qid)
    settled(page)
    assert "…" not in page.locator("#explorer-view .asked").inner_text()
    assert "score" in page.locator("#explorer-view .hits").first.inner_text()


def test_documents_never_retrieved_are_found(open_report: Any) -> None:
    made = experiment(collections=1, looked_into=None, seed=3)
    page = open_report(*made, at=BOTH + "&queries=missed")
    never = [
        query.qid
        for query in made.details[0].queries
        if any(
            ranks[0] is None and ranks[1] is None
            for ranks in (r.ranks["hybrid-rerank"] for r in query.relevant)
        )
    ]
    assert never and sorted(_listed(page)) == sorted(never)
    page.locator("#explorer-view .list tbody th button").first.click()
    assert "never retrieved" in page.locator("#explorer-view .relevant").inner_text()


def test_search_looks_at_ids_and_texts(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH)
    box = page.get_by_label("Id or words")
    box.fill("q1")
    assert sorted(_listed(page)) == sorted(each for each in made.per_query[0].qid if "q1" in each)
    query = made.details[0].queries[5]
    box.fill(query.text.upper()[:25])
    assert _listed(page) == [query.qid]
    box.fill("no such words")
    assert "No query is like that" in page.locator("#explorer-view .list").inner_text()


def test_keys_move_and_open(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q5")
    assert _title(page) == "Query q5"
    listed = _listed(page)
    at = listed.index("q5")
    page.locator("#explorer-view .list tr[aria-current] button").focus()
    step = 1 if at < 20 else -1
    for _ in range(3):
        page.keyboard.press("ArrowDown" if step > 0 else "ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == listed[at + 3 * step]
    assert _title(page) == "Query q5"
    page.keyboard.press("Enter")
    assert _title(page) == f"Query {listed[at + 3 * step]}"
    assert f"qid={listed[at + 3 * step]}" in page.evaluate("location.hash")
    assert page.evaluate("document.activeElement.textContent") == listed[at + 3 * step]
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.textContent") == listed[0]


def test_the_strip_is_worked_by_pointer_and_keys(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH)
    order = [made.per_query[0].qid[row] for row in np.argsort(_deltas(made.per_query[0]), kind="stable")]
    strip = page.get_by_role("slider", name="Queries by difference")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 30.5 / 40, "y": 20})
    assert _title(page) == f"Query {order[30]}"
    assert page.locator("#explorer-view tr[aria-current] th button").inner_text() == order[30]
    strip.focus()
    page.keyboard.press("ArrowRight")
    assert _title(page) == f"Query {order[31]}"
    assert strip.get_attribute("aria-valuenow") == "32"
    assert order[31] in strip.get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    assert _title(page) == f"Query {order[0]}"


def test_a_thousand_queries_come_in_pages(open_report: Any) -> None:
    made = experiment(pipelines=2, collections=1, queries=1000, metrics=["ndcg@10"], looked_into=3)
    page = open_report(*made, at="explorer?pipeline=dense&qid=q777")
    assert _title(page) == "Query q777"
    order = [
        made.per_query[0].qid[row]
        for row in np.argsort(_deltas(made.per_query[0], ours="dense"), kind="stable")
    ]
    start = 50 * (order.index("q777") // 50)
    assert _listed(page) == order[start : start + 50]
    assert f"{start + 1} to {start + 50} of 1,000" in page.locator("#explorer-view .pager").first.inner_text()
    page.locator("#explorer-view .pager button", has_text="Next").first.click()
    assert _listed(page) == order[start + 50 : start + 100]
    page.locator("#explorer-view .list tbody button").first.focus()
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == order[start + 49]
    said = page.locator("#explorer-view .query .notice").inner_text()
    assert "3 of 1,000 queries are kept" in said and "report: {queries: N}" in said


def test_a_link_opens_a_query_of_a_collection(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at="explorer?collection=suite%2Fset-01&qid=q4")
    assert _title(page) == "Query q4"
    assert page.locator("#explorer-view .asked").inner_text() == made.details[1].queries[4].text
    assert page.locator("#explorer-view select[data-key=collection]").input_value() == "suite/set-01"


def test_another_address_of_the_page_changes_it(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q4")
    page.evaluate("location.hash = '#explorer?qid=q9&pipeline=dense'")
    page.locator("#query-title", has_text="q9").wait_for()
    page.locator("#explorer-view .side h4", has_text="dense").wait_for()
    assert page.locator("#explorer-view select[data-key=pipeline]").input_value() == "dense"


def test_print_shows_what_is_chosen(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at=BOTH + "&qid=q4")
    page.emulate_media(media="print")
    assert not page.locator("#explorer-view .list").is_visible()
    assert not page.locator("#explorer-view select").first.is_visible()
    assert page.locator("#explorer-view .hits").first.is_visible()
    assert page.locator("#funnel-view .one > .scroll td").last.is_visible()
    lost = page.locator("#funnel-view .stages button.quiet").first
    assert lost.is_visible() and lost.inner_text().isdigit()


def test_a_foreign_address_breaks_nothing(open_report: Any, made: MadeUp) -> None:
    page = open_report(
        *made, at="explorer?collection=no&qid=none&pipeline=x&other=y&metric=z&queries=step-99"
    )
    assert _title(page).startswith("Query q")
    assert len(_listed(page)) == 40


def test_an_older_folder_without_details(open_report: Any, made: MadeUp) -> None:
    tables = [each.model_copy(update={"changed": [], "explained": []}) for each in made.per_query]
    page = open_report(made.results, tables, at=BOTH)
    assert len(_listed(page)) == 40
    assert "No documents of single queries are kept" in page.locator("#explorer-view .notice").inner_text()
    page = open_report(made.results)
    assert "no values per query" in page.locator("#explorer-view").inner_text()


def test_one_pipeline_without_a_baseline(open_report: Any) -> None:
    made = experiment(pipelines=1, collections=1)
    results = made.results.model_copy(update={"baseline": None})
    page = open_report(results, *made[1:])
    values = np.sort(np.round(made.per_query[0].values["bm25"]["ndcg@10"], 6))
    assert page.locator("#explorer-view .list tbody td.num").all_inner_texts() == [
        f"{each:.4f}" for each in values
    ]
    assert page.locator("#explorer-view .side").count() == 1


def test_a_metric_that_a_pipeline_lacks(open_report: Any) -> None:
    made = experiment(collections=1)
    table = made.per_query[0]
    values = {each: dict(of) for each, of in table.values.items()}
    del values["hybrid-rerank"]["recall@100"]
    tables = [table.model_copy(update={"values": values})]
    page = open_report(made.results, tables, *made[2:4], at=BOTH + "&metric=recall@100")
    assert (
        "hybrid-rerank has no values of recall@100 per query" in page.locator("#explorer-view").inner_text()
    )


def test_hostile_texts_are_texts(open_report: Any, bad: MadeUp) -> None:
    page = open_report(*bad, width=390)
    assert len(_listed(page)) == 20
    page.locator("#explorer-view .list tbody th button", has_text="img src").first.click()
    long = bad.details[0].queries[0].qid
    page.evaluate("(qid) => state.set({ qid })", long)
    settled(page)
    asked = page.locator("#explorer-view .asked")
    assert asked.bounding_box()["height"] < 120
    page.locator("#explorer-view .query button[aria-expanded]", has_text="more").first.click()
    assert asked.bounding_box()["height"] > 1000
    assert len(asked.inner_text()) > 90_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sides = [each.bounding_box() for each in page.locator("#explorer-view .side").all()]
    assert sides[0]["x"] == sides[1]["x"]  # one column
