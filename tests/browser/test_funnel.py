"""Where relevant documents are lost: the overview, one pipeline's table, and the way from a loss to its queries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from made_up import MadeUp, experiment

from irkit.report.details import Funnel, FunnelStep

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def settled(page: Page) -> None:
    """Wait until all views have followed a choice."""
    page.wait_for_selector("html:not([data-busy])")


def _funnels(made: MadeUp, collection: int = 0) -> dict[str, Funnel]:
    name = made.results.collections[collection].name
    return {each.pipeline: each for each in made.funnels if each.collection == name}


def _figures(row: Locator) -> list[str]:
    """The first line of each cell that holds a figure."""
    return [text.split("\n")[0].strip() for text in row.locator("td").all_inner_texts()]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def test_the_overview_counts_where_documents_end(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made)
    rows = page.locator("#funnel-view .funnels tbody tr")
    funnels = sorted(_funnels(made).values(), key=lambda each: -each.steps[-1].top)
    assert [row.locator("th").inner_text() for row in rows.all()] == [each.pipeline for each in funnels]
    for row, funnel in zip(rows.all(), funnels, strict=True):
        end = funnel.steps[-1]
        counts = [
            funnel.missed,
            funnel.total - funnel.missed - end.relevant,
            end.relevant - end.top,
            end.top,
        ]
        assert sum(counts) == funnel.total
        assert _figures(row)[1:] == [str(each) for each in counts]
        assert _share(end.top, funnel.total) in row.inner_text()
        assert f"{end.top} in the first {funnel.k}, of {funnel.total}" in row.locator(
            "svg.funnel"
        ).get_attribute("aria-label")


def test_bars_are_as_high_as_what_they_count(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at="funnel?pipeline=hybrid-rerank")
    funnel = _funnels(made)["hybrid-rerank"]
    stages = page.locator("#funnel-view .funnels tbody tr", has_text="hybrid-rerank").locator("svg.funnel g")
    full = float(stages.nth(0).locator(".behind").get_attribute("height"))
    for stage, step in zip(stages.all(), funnel.steps, strict=True):
        heights = {
            kind: float(bar.first.get_attribute("height"))
            if (bar := stage.locator(f".{kind}")).count()
            else 0
            for kind in ("in-top", "deeper", "fall")
        }
        expected = {"in-top": step.top, "deeper": step.relevant - step.top, "fall": step.lost}
        assert heights == pytest.approx({k: full * n / funnel.total for k, n in expected.items()}, abs=1e-6)


def test_a_pipeline_opens_with_its_stages(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made)
    page.locator("#funnel-view button.pick", has_text=re.compile("^hybrid-rerank$")).click()
    settled(page)
    assert page.locator("#funnel-view [aria-pressed=true]").inner_text() == "hybrid-rerank"
    funnel = _funnels(made)["hybrid-rerank"]
    rows = page.locator("#funnel-view .one > .scroll .stages tbody tr").all()
    assert _figures(rows[0])[1] == str(funnel.total)
    assert _figures(rows[0])[-1] == str(funnel.missed)
    for row, step in zip(rows[1:], funnel.steps, strict=True):
        _, relevant, top, change, lost = _figures(row)
        assert (relevant, top) == (str(step.relevant), str(step.top))
        if step.inputs:
            gain = step.top - max(funnel.steps[each].top for each in step.inputs)
            assert change == (f"+{gain}" if gain > 0 else f"{MINUS}{-gain}" if gain < 0 else "0")
            assert lost == str(step.lost)
        else:
            assert change.startswith(DASH) and lost.startswith(DASH)
    indents = [row.locator("th > span").get_attribute("class") for row in rows[1:]]
    assert indents == ["in1", "in1", "in0", "in0", "in0"]


def _chain(*lost: int, total: int = 200, missed: int = 20, top: int = 90) -> Funnel:
    left, steps = total - missed, []
    for number, each in enumerate(lost):
        left -= each
        steps.append(
            FunnelStep(
                stage="cutoff" if number else "bm25",
                label=f"stage {number}",
                inputs=[number - 1] if number else [],
                relevant=left,
                top=top - 5 * number,
                lost=each,
            )
        )
    return Funnel(
        collection="suite/set-00", pipeline="bm25", k=10, total=total, missed=missed, queries=40, steps=steps
    )


def test_the_sentence_says_what_is_lost_where(open_report: Any, made: MadeUp) -> None:
    page = open_report(made.results, made.per_query, [_chain(0, 6, 0)], at="funnel?pipeline=bm25")
    said = page.locator("#funnel-view .one p").first.inner_text()
    # 20, 6 and 200 - 20 - 6 - 80 = 94 of 200; the end has 90 - 10 in its first 10.
    assert said == (
        "Of 200 relevant documents of 40 queries, 10 % were never retrieved, stage 1 lost 3 %, 47 % end below rank "
        "10, and 40 % end in the first 10."
    )
    change = page.locator("#funnel-view .stages tbody tr").nth(2).locator("td").nth(3)
    assert change.inner_text() == f"{MINUS}5"
    assert "down" in change.locator("span").get_attribute("class")


def test_what_the_collection_lacks_was_not_lost_by_anybody(open_report: Any, made: MadeUp) -> None:
    funnel = _chain(0, 6).model_copy(update={"missed": 13, "outside": 7})
    page = open_report(made.results, made.per_query, [funnel], at="funnel?pipeline=bm25")
    said = page.locator("#funnel-view .one p").first.inner_text()
    # 7, 13 and 6 of 200 are not at the end, whose 174 are 85 and 89.
    assert said == (
        "Of 200 relevant documents of 40 queries, 7 are not in the collection, 7 % were never retrieved, stage 1 lost 3 %, "
        "45 % end below rank 10, and 43 % end in the first 10."
    )
    first = page.locator("#funnel-view .one .stages tbody tr").first
    assert "7 are not in the collection" in first.inner_text()
    assert _figures(first)[-1] == "13"
    overview = page.locator("#funnel-view .funnels")
    assert "Not in the collection" in overview.locator("thead").inner_text()
    assert _figures(overview.locator("tbody tr"))[1:] == ["7", "13", "6", "89", "85"]
    picture = overview.locator("svg.funnel").get_attribute("aria-label")
    assert "7 are not in the collection, 13 never retrieved, 6 lost on the way" in picture


def test_two_pipelines_are_compared_in_documents(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at="funnel?pipeline=hybrid-rerank&other=dense")
    ours, other = (_funnels(made)[each] for each in ("hybrid-rerank", "dense"))
    more = ours.steps[-1].top - other.steps[-1].top
    assert more > 1
    view = page.locator("#funnel-view .one")
    assert f"hybrid-rerank has {more} more relevant documents in the first 10 than dense" in view.inner_text()
    page.locator("#funnel-view select[data-key=other]").select_option("hybrid-rerank")
    settled(page)
    assert " than " not in view.inner_text()


def test_a_loss_opens_the_queries_that_lost_there(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made, at="funnel?pipeline=hybrid-rerank")
    page.get_by_role("button", name="lost by cutoff (k=20): show the queries").click()
    settled(page)
    ranks = [[each.ranks["hybrid-rerank"] for each in query.relevant] for query in made.details[0].queries]
    lost = [
        query.qid
        for query, of_query in zip(made.details[0].queries, ranks, strict=True)
        if any(after[2] is not None and after[3] is None for after in of_query)
    ]
    assert 0 < len(lost) < len(ranks)
    shown = page.locator("#explorer-view .list tbody th button").all_inner_texts()
    assert sorted(shown) == sorted(lost)
    assert "among the 12 that are kept" in page.locator("#explorer-view").inner_text()
    assert page.evaluate("document.activeElement.dataset.key") == "queries"


def test_another_collection_has_its_own_funnels(open_report: Any, made: MadeUp) -> None:
    page = open_report(*made)
    page.locator("#funnel-view select[data-key=collection]").select_option("suite/set-01")
    settled(page)
    tops = [int(_figures(row)[-1]) for row in page.locator("#funnel-view .funnels tbody tr").all()]
    assert tops == sorted((each.steps[-1].top for each in _funnels(made, 1).values()), reverse=True)
    assert tops != sorted((each.steps[-1].top for each in _funnels(made, 0).values()), reverse=True)


def test_without_funnels_it_says_why(open_report: Any, made: MadeUp) -> None:
    page: Page = open_report(made.results, made.per_query)
    assert "hold no funnels" in page.locator("#funnel-view").inner_text()


def test_without_queries_a_loss_is_no_button(open_report: Any, made: MadeUp) -> None:
    tables = [each.model_copy(update={"changed": [], "explained": []}) for each in made.per_query]
    page = open_report(made.results, tables, made.funnels, at="funnel?pipeline=hybrid-rerank")
    lost = page.locator("#funnel-view .one > .scroll .stages tbody tr").nth(4).locator("td").last
    assert lost.inner_text().startswith(str(_funnels(made)["hybrid-rerank"].steps[3].lost))
    assert lost.locator("button").count() == 0


def test_after_a_lost_first_stage_nobody_says_what_was_never_retrieved(open_report: Any) -> None:
    made = experiment(pipelines=1, collections=1)
    funnel = _chain(0, 6, total=200).model_copy(update={"left_out": ["dense (k=5)"]})
    first = funnel.steps[0].model_copy(update={"label": "rerank", "unknown": True})
    funnel = funnel.model_copy(update={"steps": [first, *funnel.steps[1:]]})
    page = open_report(made.results, made.per_query, [funnel], made.details)
    view = page.locator("#funnel-view")
    assert "10 % were not found, or lost up to rerank, stage 1 lost 3 %" in view.inner_text()
    assert "retrieved" not in view.inner_text() and "a first stage" not in view.inner_text()
    rows = view.locator(".one .stages tbody tr")
    assert rows.nth(1).locator("td").last.inner_text().startswith(DASH)
    assert "not known" in rows.nth(1).locator("td").last.inner_text()
    options = page.locator("#explorer-view select[data-key=queries] option").all_inner_texts()
    assert any(each.startswith("not found, or lost up to rerank") for each in options)


def test_a_stage_that_the_store_lacks_is_named(open_report: Any) -> None:
    made = experiment(pipelines=1, collections=1)
    funnel = made.funnels[0].model_copy(update={"left_out": ["dense (k=5)"]})
    page = open_report(made.results, made.per_query, [funnel])
    assert "no rankings any more of dense (k=5)" in page.locator("#funnel-view .one").inner_text()
    assert page.locator("#funnel-view select").count() == 1  # one collection, and nothing to compare with
