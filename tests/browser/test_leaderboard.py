"""The leaderboard, driven by clicks and keys: what it shows is what the data says."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from known_scores import SHUFFLED, known_scores
from made_up import experiment

from irkit.config.statistics import Statistics
from irkit.report.tabular import guarded

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@pytest.fixture
def page(open_report: Open) -> Page:
    return open_report(*known_scores())


# Rows as texts: the name, then the cells; what only screen readers are told is left out, the marks are kept apart.
_READ = """table => [...table.querySelectorAll('tr:not(.more)')].map(row => [...row.cells].map(cell => {
  const copy = (cell.querySelector('button') ?? cell.querySelector('a.cell > span') ?? cell).cloneNode(true);
  copy.querySelectorAll('.sr').forEach(extra => extra.remove());
  return copy.textContent.trim();
}))"""


def rows(page: Page) -> list[list[str]]:
    """Return the table's rows, the heads first, when every view has followed the last choice."""
    page.wait_for_selector("html:not([data-busy])")
    found: list[list[str]] = page.locator("table.league").evaluate(_READ)
    return found


def names(page: Page) -> list[str]:
    return [row[0] for row in rows(page)[1:]]


def cell(page: Page, pipeline: str, column: str) -> Any:
    """Return the cell of a pipeline and column."""
    place = rows(page)[0].index(column)
    number = names(page).index(pipeline)
    return page.locator("table.league tbody tr:not(.more)").nth(number).locator("th, td").nth(place)


def ranks(page: Page) -> list[str]:
    return [text.replace("rank ", "") for text in page.locator("table.league .rank").all_text_contents()]


def best(page: Page) -> list[tuple[str, str]]:
    """Return (pipeline, column) of the cells marked as the best."""
    heads = rows(page)[0]
    return [
        (name, column)
        for name in names(page)
        for column in heads[1:]
        if cell(page, name, column).locator(".best").count()
    ]


def test_the_first_average_leads_and_sorts(page: Page) -> None:
    heads, *body = rows(page)
    assert heads == ["Pipeline", "Both", "Four (3 of 4)", "a/one", "b/two", "c/three"]
    assert [row[:2] for row in body] == [
        ["rerank", "0.6400"],
        ["dense", "0.5750"],
        [SHUFFLED, "0.5600"],
        ["bm25", "0.5500"],
    ]
    assert ranks(page) == ["1", "2", "", "3"]  # an order control has no rank
    sentence = page.locator(".leader").inner_text()
    assert (
        sentence
        == "rerank has the highest ndcg@10 in Both (2 collections): 0.6400, 0.0900 above the baseline, bm25."
    )


def test_the_best_of_a_column_ties_share_it_and_a_control_has_no_part(page: Page) -> None:
    assert sorted(best(page)) == [
        ("bm25", "b/two"),
        ("dense", "b/two"),
        ("rerank", "Both"),
        ("rerank", "Four (3 of 4)"),
        ("rerank", "a/one"),
        ("rerank", "c/three"),
    ]
    page.get_by_label("Pipelines", exact=False).first.fill("e")  # all but bm25
    assert ("bm25", "b/two") not in best(page)
    page.get_by_label("Pipelines", exact=False).first.fill("den")
    assert best(page) == []  # one row is not the best of anything
    page.get_by_label("Pipelines", exact=False).first.fill("")
    page.locator("#leaderboard select[data-key=metric]").select_option("recall@100")
    assert [who for who, column in best(page) if column == "c/three"] == ["bm25", "rerank"]


def test_another_metric_with_shared_ranks(page: Page) -> None:
    page.locator("#leaderboard select[data-key=metric]").select_option("recall@100")
    assert rows(page)[1][:2] == ["bm25", "0.8500"]
    page.locator("#leaderboard select[data-key=column]").select_option("a/one")
    assert names(page)[0] == "dense"
    assert [row[0] for row in rows(page)[2:]] == ["bm25", "rerank", SHUFFLED]
    assert ranks(page) == ["1", "2", "2", ""]
    assert "metric=recall%40100" in page.url
    assert "a%2Fone" in page.url


def test_differences_and_ranks(page: Page) -> None:
    show = page.locator("#leaderboard select[data-key=show]")
    show.select_option("delta")
    assert rows(page)[1] == ["rerank", "+0.0900", "+0.0900", "+0.2000", f"{MINUS}0.0200", "+0.0900"]
    assert rows(page)[4] == ["bm25", "0.5500", "0.5000", "0.5000", "0.6000", "0.4000"]
    show.select_option("rank")
    assert rows(page)[1] == ["rerank", "1", "1", "1", "3", "1"]
    assert rows(page)[3][:2] == [SHUFFLED, DASH]
    assert "order control" in (cell(page, SHUFFLED, "a/one").locator(".none").get_attribute("title") or "")


def test_a_head_sorts_by_click_and_by_key(page: Page) -> None:
    head = page.locator("table.league thead th").filter(has_text="c/three")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(page) == ["rerank", "bm25", SHUFFLED, "dense"]  # what has no score stays last
    page.keyboard.press("Enter")  # the focus stays on the head that was drawn anew
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(page) == [SHUFFLED, "bm25", "rerank", "dense"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert names(page) == ["bm25", "dense", "rerank", SHUFFLED]
    page.locator("table.league thead button").first.click()
    assert names(page) == ["bm25", "dense", "rerank", SHUFFLED]
    assert page.locator("table.league thead th").first.get_attribute("aria-sort") == "ascending"


def test_the_filter_keeps_the_focus_and_says_how_many(page: Page) -> None:
    box = page.locator("#leaderboard input[type=search]")
    box.focus()
    page.keyboard.type("RER")
    assert names(page) == ["rerank", SHUFFLED]
    assert page.locator("#leaderboard .count").inner_text() == "2 of 4 shown"
    assert box.evaluate("box => box === document.activeElement")
    assert ranks(page) == ["1", ""]  # among all pipelines
    page.keyboard.type("x")
    assert "No pipeline has this" in page.locator("table.league tbody").inner_text()
    assert page.locator("#leaderboard .count").inner_text() == "0 of 4 shown"


def test_columns_are_hidden_and_shown(page: Page) -> None:
    page.locator(".which summary").click()
    page.locator(".which").get_by_label("a/one").uncheck()
    assert rows(page)[0] == ["Pipeline", "Both", "Four (3 of 4)", "b/two", "c/three"]
    assert page.locator(".which summary").inner_text() == "Columns: 4 of 5"
    page.locator(".which").get_by_role("button", name="None").click()
    assert rows(page)[0] == ["Pipeline"]
    page.locator(".which").get_by_role("button", name="All").click()
    assert len(rows(page)[0]) == 6


def test_order_controls_can_be_hidden(page: Page) -> None:
    page.get_by_label("Order controls").uncheck()
    assert names(page) == ["rerank", "dense", "bm25"]


def test_significance_against_the_baseline(page: Page) -> None:
    def mark(pipeline: str, column: str) -> str:
        return " ".join(cell(page, pipeline, column).locator(".test").all_text_contents())

    assert mark("rerank", "a/one") == "▲ (significantly above the baseline)"
    assert mark("rerank", "b/two") == ""
    assert mark(SHUFFLED, "b/two") == "▼ (significantly below the baseline)"
    assert mark("rerank", "Both") == ""  # means are not tested
    assert "paired t-test, corrected after Holm for 3 pipelines" in page.locator(".notes").inner_text()


def test_significance_where_all_pairs_were_tested(open_report: Open) -> None:
    results, per_query = known_scores()
    changes = {"statistics": Statistics(pairs="all", resamples=100), "baseline": "rerank"}
    page = open_report(results.model_copy(update=changes), per_query)
    rows(page)
    assert cell(page, "bm25", "a/one").locator(".test").inner_text().startswith("▼")
    cell(page, "bm25", "a/one").locator("a").focus()
    assert "0 won, 0 tied, 20 lost" in page.locator(".readout").inner_text()


def test_published_and_expected_values(page: Page) -> None:
    near = cell(page, "bm25", "a/one").locator(".published")
    assert near.text_content() == "≈ (near: published 0.5050)"
    assert near.get_attribute("title") == "published 0.5050 (a-paper): near"
    assert cell(page, "bm25", "Both").locator(".published").inner_text().startswith("✓")
    assert cell(page, "bm25", "Four (3 of 4)").locator(".published").count() == 0
    assert cell(page, "bm25", "a/one").locator(".badge").inner_text() == "✓ as expected"
    assert cell(page, "rerank", "b/two").locator(".badge").inner_text() == "✗ expected 0.6500"
    cell(page, "bm25", "a/one").locator("a").focus()
    told = page.locator(".readout").inner_text()
    assert "bm25 on a/one: ndcg@10 0.5000, rank 3 of 3" in told
    assert "published 0.5050 (a-paper)" in told
    cell(page, "rerank", "a/one").locator("a").hover()
    assert "+0.2000 to the baseline" in page.locator(".readout").inner_text()
    assert "20 won, 0 tied, 0 lost" in page.locator(".readout").inner_text()


def test_a_match_within_a_tolerance_says_why(open_report: Open) -> None:
    results, per_query = known_scores()
    close, exact = results.reference
    close = close.model_copy(update={"status": "match", "reason": "but for ties"})
    page = open_report(results.model_copy(update={"reference": [close, exact]}), per_query)
    rows(page)
    mark = cell(page, "bm25", "a/one").locator(".published")
    assert mark.text_content() == "✓ (match, but for ties: published 0.5050)"
    assert mark.get_attribute("title") == "published 0.5050 (a-paper): match, but for ties"
    cell(page, "bm25", "a/one").locator("a").focus()
    assert "✓ match, but for ties: published 0.5050" in page.locator(".readout").inner_text()


def test_a_mean_says_that_it_is_not_tested(page: Page) -> None:
    notes, columns = page.locator(".notes"), page.locator(".which")
    assert "a mean over collections carries no test" in notes.inner_text()
    columns.locator("summary").click()
    for mean in ("Both", "Four (3 of 4)"):
        columns.get_by_label(mean).uncheck()
    assert "carries no test" not in notes.inner_text()


def test_a_missing_score_says_why(page: Page) -> None:
    none = cell(page, "dense", "c/three").locator(".none")
    assert none.get_attribute("title") == "the run gave no value of this metric"
    assert cell(page, "dense", "Four (3 of 4)").locator(".none").count() == 1
    assert "A dash: no mean, because a member has no score." in page.locator(".notes").inner_text()


def test_a_score_leads_to_its_collection(page: Page) -> None:
    link = cell(page, "rerank", "b/two").locator("a")
    assert "collection=b%2Ftwo" in (link.get_attribute("href") or "")
    link.click()
    assert page.url.split("#")[1].startswith("pairs?")
    assert "collection=b%2Ftwo" in page.url
    assert "pipeline=rerank" in page.url
    assert page.evaluate("document.activeElement.id") == "pairs-title"


def test_arrow_keys_walk_the_scores(page: Page) -> None:
    cell(page, "rerank", "c/three").locator("a").focus()
    page.keyboard.press("ArrowDown")  # over the dash of dense
    told = page.locator(".readout").inner_text()
    assert told.startswith(f"{SHUFFLED} on c/three")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".readout").inner_text().startswith(f"{SHUFFLED} on b/two")
    stops = page.locator("table.league a.cell").evaluate_all(
        "all => all.filter(each => each.tabIndex === 0).length"
    )
    assert stops == 1


def test_a_row_opens_its_details(page: Page) -> None:
    button = page.locator("table.league tbody button.row").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert button.evaluate("each => each === document.activeElement")
    inside = page.locator("table.league .more")
    assert "maxsim:" in inside.locator("pre").first.inner_text()
    assert inside.locator("pre").nth(1).inner_text() == "irkit run known.yaml --set a=1 --pipeline rerank"
    page.locator("#leaderboard select[data-key=column]").select_option("c/three")
    assert (
        page.locator("table.league .more pre")
        .nth(1)
        .inner_text()
        .endswith("--pipeline rerank --only c/three")
    )
    page.locator("table.league tbody tr", has_text="order control").locator("button.row").click()
    assert "An order control of rerank" in page.locator("table.league").inner_text()
    button.click()
    assert page.locator("table.league .more").count() == 1


def test_it_is_copied_as_it_is_shown(page: Page) -> None:
    page.get_by_label("Order controls").uncheck()
    page.locator("#leaderboard select[data-key=show]").select_option("delta")
    page.get_by_role("button", name="Copy as CSV").click()
    lines = (page.locator("#league-csv").text_content() or "").split("\r\n")
    assert lines[0] == '"Pipeline","Both","Four (3 of 4)","a/one","b/two","c/three"'
    assert lines[1] == '"rerank","+0.0900","+0.0900","+0.2000","-0.0200","+0.0900"'
    assert lines[2] == '"dense","+0.0250","","+0.0500","0.0000",""'
    page.get_by_role("button", name="Copy as Markdown").click()
    text = page.locator("#league-markdown").text_content() or ""
    assert text.splitlines()[:2] == [
        "| Pipeline | Both | Four (3 of 4) | a/one | b/two | c/three |",
        "|:--|--:|--:|--:|--:|--:|",
    ]


@pytest.mark.parametrize(
    ("called", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@sum", "'@sum"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("'quoted", "''quoted"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ('say "a,b"', 'say ""a,b""'),
        (f"{MINUS}x", f"{MINUS}x"),
        (DASH, DASH),
        ("a=b-c", "a=b-c"),
    ],
)
def test_names_as_csv_are_no_formulas(open_report: Open, called: str, written: str) -> None:
    made = experiment(pipelines=2, collections=2, names=[called], collection_names=[called])
    page = open_report(*made)
    page.get_by_role("button", name="Copy as CSV").click()
    lines = (page.locator("#league-csv").text_content() or "").split("\r\n")
    assert f'"{written}"' in [line[: len(written) + 2] for line in lines[1:]]
    assert f',"{written}"' in lines[0]
    ((_, *cells),) = csv.reader(line for line in lines[1:] if line.startswith(f'"{written}"'))
    assert all(0 <= float(each) <= 1 for each in cells), "numbers are numbers"
    ours, theirs = guarded(called), next(csv.reader([f'"{written}"']))[0]
    assert theirs == ours, "as the files beside the report have it"


def test_an_address_chooses_and_a_foreign_one_breaks_nothing(open_report: Open) -> None:
    page = open_report(*known_scores(), at="scores?metric=recall%40100&column=a%2Fone&show=rank&order=up")
    assert rows(page)[0][0] == "Pipeline"
    assert names(page)[-1] == "dense"
    assert rows(page)[-1][3] == "1"
    page = open_report(*known_scores(), at="scores?metric=nonsense&column=%00&show=x&order=y&pipeline=z")
    assert names(page)[0] == "rerank"


def test_one_pipeline_and_one_collection(open_report: Open) -> None:
    results, _ = known_scores()
    one = results.model_copy(
        update={
            "pipelines": {"bm25": results.pipelines["bm25"]},
            "scores": [
                each for each in results.scores if (each.pipeline, each.collection) == ("bm25", "a/one")
            ],
            "collections": results.collections[:1],
            "baseline": None,
            "controls": {},
            "averages": {},
            "reference": [],
            "expected": [],
            "stages": [],
        }
    )
    page = open_report(one)
    assert rows(page) == [["Pipeline", "a/one"], ["bm25", "0.5000"]]
    assert page.locator(".leader").inner_text() == "bm25 has ndcg@10 on a/one: 0.5000."
    assert page.locator("#leaderboard select[data-key=show] option").all_inner_texts() == ["Scores", "Ranks"]
    assert page.locator("#leaderboard .test").count() == 0


def test_a_narrow_page_scrolls_the_table_alone(open_report: Open) -> None:
    page = open_report(*known_scores(), width=390)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    box = page.locator(".league-box")
    box.evaluate("box => { box.scrollLeft = 200; }")
    left = page.locator("table.league tbody th").first.evaluate("head => head.getBoundingClientRect().left")
    assert left == pytest.approx(box.evaluate("box => box.getBoundingClientRect().left"), abs=1)


def test_it_prints_as_it_is_chosen(page: Page) -> None:
    page.locator("#leaderboard select[data-key=metric]").select_option("recall@100")
    page.emulate_media(media="print")
    assert not page.locator("#leaderboard .choices").is_visible()
    assert not page.locator(".readout").is_visible()
    assert page.locator("table.league").is_visible()
    assert "recall@100" in page.locator("table.league caption").inner_text()
