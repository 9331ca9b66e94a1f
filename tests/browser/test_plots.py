"""The pictures, driven by clicks and keys: where marks stand is what the data says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from known_scores import COLLECTIONS, NDCG, SHUFFLED, known_efficiency, known_scores

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
DASH = "\N{EN DASH}"
DOTS, COSTS = "#plots-view .chart:not(.cost-marks)", "#plots-view .cost-marks"


@pytest.fixture
def page(open_report: Open) -> Page:
    return open_report(*known_scores())


def settled(page: Page) -> Page:
    page.wait_for_selector("html:not([data-busy])")
    return page


def said(page: Page, where: str) -> list[str]:
    """Return what the marks are called, in the order in which they stand from left to right."""
    marks = (
        settled(page)
        .locator(f"{where} svg > .mark, {where} svg > g > .mark")
        .evaluate_all(
            "all => all.map(each => [each.getBoundingClientRect().x, each.getAttribute('aria-label')])"
        )
    )
    return [label for _, label in sorted(marks)]


def table(page: Page, number: int) -> list[list[str]]:
    """Return the rows of the table below a picture, without its heads."""
    rows = settled(page).locator("#plots-view figure details").nth(number).locator("tbody tr")
    found: list[list[str]] = rows.evaluate_all(
        """rows => rows.map(row => [...row.cells].map(cell => {
          const copy = cell.cloneNode(true);
          copy.querySelectorAll('.sr').forEach(extra => extra.remove());
          return copy.textContent;
        }))"""
    )
    return found


def test_every_score_is_a_mark_at_its_place(page: Page) -> None:
    marks = said(page, DOTS)
    assert len(marks) == 4 * 3 - 1 + 4 + 3  # the collections, the averages over two and over three
    for place, collection in enumerate(COLLECTIONS):
        here = [mark.split(" on ")[0] for mark in marks if f" on {collection}:" in mark]
        there = sorted(
            (name for name in NDCG if NDCG[name][place] is not None), key=lambda name: NDCG[name][place]
        )
        if collection != "b/two":  # where two stand at the same place
            assert here == there
    assert "rerank on a/one: ndcg@10 0.7000, +0.2000 to the baseline, rank 1" in marks
    assert table(page, 0)[-1] == ["c/three", "0.4000", DASH, "0.4900", "0.3000"]


def test_the_distance_of_marks_is_that_of_scores(page: Page) -> None:
    def middle(label: str) -> float:
        box = page.locator(f'{DOTS} [aria-label^="{label}:"]').bounding_box()
        assert box
        return box["x"] + box["width"] / 2

    settled(page)
    low, mid, high = middle("bm25 on a/one"), middle("dense on a/one"), middle("rerank on a/one")
    assert (high - low) / (mid - low) == pytest.approx(0.2 / 0.05, rel=0.05)


def test_the_legend_makes_a_pipeline_stand_out(page: Page) -> None:
    assert page.locator(f"{DOTS} .chosen").first.get_attribute("aria-label", timeout=2000) == (
        "rerank on Both: ndcg@10 0.6400, +0.0900 to the baseline, rank 1"
    )
    button = page.locator("#plots-view .shapes button", has_text="dense")
    button.focus()
    page.keyboard.press("Enter")
    settled(page)
    assert button.get_attribute("aria-pressed") == "true"
    assert button.evaluate("each => each === document.activeElement")
    assert (
        page.locator(f"{DOTS} .chosen").count() == 3
    )  # dense has no score on one collection, so no mean over three
    assert page.locator('#plots-view [data-key="pipeline"]').input_value() == "dense"
    assert "pipeline=dense" in page.url


def test_arrow_keys_walk_the_marks(page: Page) -> None:
    settled(page)
    page.locator(f'{DOTS} [aria-label^="bm25 on a/one:"]').focus()
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused).startswith("dense on a/one")
    assert page.locator(f"{DOTS} .callout").text_content() == "dense 0.5500"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused).startswith("dense on b/two")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    settled(page)
    assert "pipeline=dense" in page.url
    assert page.evaluate(focused).startswith("dense on a/one")  # of the picture drawn anew
    stops = page.locator(f"{DOTS} .mark").evaluate_all(
        "all => all.filter(each => each.tabIndex === 0).length"
    )
    assert stops == 1


def test_the_front_of_one_collection(page: Page) -> None:
    page.locator('#plots-view [data-key="column"]').select_option("b/two")
    marks = said(page, COSTS)
    assert [mark.split(":")[0] for mark in marks] == [
        "bm25",
        "dense",
        "rerank",
    ]  # an order control is no way to search
    assert marks[0].endswith("time per query of the run 1.00 ms, indexes 0 B, on the front")
    assert marks[1].endswith("5.00 ms, indexes 1.00 MB, beaten")
    assert page.locator("#plots-view figure").nth(1).inner_text().startswith("On the front: bm25.")
    assert table(page, 1) == [
        ["bm25", "0.6000", "1.00 ms", "0 B", "nobody: on the front"],
        ["dense", "0.6000", "5.00 ms", "1.00 MB", "bm25"],
        ["rerank", "0.5800", "100 ms", "101 MB", "bm25 and dense"],
    ]


def test_the_front_of_a_mean_is_over_its_collections(page: Page) -> None:
    page.locator('#plots-view [data-key="column"]').select_option("Both")
    said(page, COSTS)
    assert "On the front: bm25, dense and rerank." in page.locator("#plots-view figure").nth(1).inner_text()
    assert table(page, 1)[2] == ["rerank", "0.6400", "100 ms", "101 MB", "nobody: on the front"]
    page.locator('#plots-view [data-key="column"]').select_option("Four (3 of 4)")
    said(page, COSTS)
    assert (
        "Not drawn, because the score or the cost is not known: dense."
        in page.locator("#plots-view").inner_text()
    )


def test_a_cost_of_nothing_has_its_place(page: Page) -> None:
    page.locator('#plots-view [data-key="column"]').select_option("a/one")
    page.locator('#plots-view [data-key="cost"]').select_option("opened")
    marks = said(page, COSTS)
    assert [mark.split(":")[0] for mark in marks] == ["bm25", "dense", "rerank"]
    assert "0" in page.locator(f"{COSTS} svg > text").all_text_contents()
    assert marks[2].endswith("size of what its stages open 101 MB, on the front")


def test_what_was_measured(open_report: Open) -> None:
    page = open_report(*known_scores(), efficiency=known_efficiency(), at="plots?column=a%2Fone")
    costs = page.locator('#plots-view [data-key="cost"] option').all_text_contents()
    assert costs == [
        "Latency, median",
        "Latency, 95th percentile",
        "Queries a second",
        "Time per query of the run",
        "Size of its indexes",
        "GFLOP a query",
    ]
    assert table(page, 1) == [
        ["bm25", "0.5000", DASH, "0 B", DASH],
        ["dense", "0.5500", "2.00 ms", "1.00 MB", "nobody: on the front"],
        ["rerank", "0.7000", "50.0 ms", "101 MB", "nobody: on the front"],
    ]
    assert "a quiet machine" in page.locator("#plots-view").inner_text()
    page.locator('#plots-view [data-key="cost"]').select_option("throughput")
    assert [mark.split(":")[0] for mark in said(page, COSTS)] == ["dense", "rerank"]  # fast is left
    assert table(page, 1)[1][2] == "2,000"
    page.locator('#plots-view [data-key="cost"]').select_option("flops")
    said(page, COSTS)
    assert table(page, 1)[2][2] == "9.00"


def test_figures_without_writing_are_not_drawn(open_report: Open) -> None:
    known = known_efficiency()

    def of(each):  # type: ignore[no-untyped-def]
        if each.pipeline == "rerank":
            return each.model_copy(update={"flops_at_least": True, "load": 3.0, "busy": True})
        return each.model_copy(update={"excludes": ["writing of texts by a language model"]})

    told = known.model_copy(update={"pipelines": [of(each) for each in known.pipelines]})
    page = open_report(*known_scores(), efficiency=told, at="plots?column=a%2Fone")
    assert [mark.split(":")[0] for mark in said(page, COSTS)] == ["rerank"]
    text = page.locator("#plots-view").inner_text()
    assert "Not drawn: its texts come from the store" in text and "was not measured: dense." in text
    assert "Not drawn, because the score or the cost is not known: bm25." in text
    assert "up to 3.00 processes" in text
    assert table(page, 1)[1][2] == DASH
    page.locator('#plots-view [data-key="cost"]').select_option("flops")
    (mark,) = said(page, COSTS)
    assert "gflop a query ≥ 9.00" in mark and page.locator(f"{COSTS} path.bound").count() == 1
    assert table(page, 1)[2][2] == "≥ 9.00"
    assert "lower bounds" in page.locator("#plots-view").inner_text()
    page.locator('#plots-view [data-key="cost"]').select_option("bytes")
    assert [mark.split(":")[0] for mark in said(page, COSTS)] == ["dense", "rerank"], "indexes are all there"
    text = page.locator("#plots-view").inner_text()
    assert "Not drawn: its texts" not in text and "lower bounds" not in text and "processes" not in text


def test_without_times_it_says_so(open_report: Open) -> None:
    results, per_query = known_scores()
    page = open_report(results.model_copy(update={"stages": []}), per_query)
    assert "no times and no sizes" in page.locator("#plots-view").inner_text()


def test_one_pipeline_alone(open_report: Open) -> None:
    results, _ = known_scores()
    mine = [each for each in results.scores if each.pipeline == "bm25" and each.collection == "a/one"]
    changes = {"pipelines": {"bm25": [{"bm25": {}}]}, "scores": mine, "baseline": None, "controls": {}}
    page = open_report(
        results.model_copy(update={**changes, "averages": {}, "reference": [], "expected": []})
    )
    assert "nothing to be set against" in page.locator("#plots-view").inner_text()
    assert said(page, DOTS) == ["bm25 on a/one: ndcg@10 0.5000, rank 1"]


@pytest.mark.parametrize("width", [390, 1280])
def test_text_keeps_its_size_and_names_do_not_meet(open_report: Open, width: int) -> None:
    page = open_report(*known_scores(), width=width, at="plots?column=a%2Fone")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    for where in (DOTS, COSTS):
        scale = page.locator(f"{where} svg").evaluate("each => each.getScreenCTM().a")
        assert scale == pytest.approx(1, abs=0.02)
    boxes = page.locator(f"{COSTS} .tagged").evaluate_all(
        "all => all.map(each => { const b = each.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"
    )
    assert len(boxes) == 3
    for (a, b, c, d), (e, f, g, i) in combinations(boxes, 2):
        assert a >= g or c <= e or b >= i - 3 or d <= f + 3
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function(f"document.querySelector('{DOTS} svg').viewBox.baseVal.width > 600")
    assert SHUFFLED in page.locator("#plots-view .shapes").inner_text()
