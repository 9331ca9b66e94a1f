"""The page of many experiments: it is a table without its script, sorts by click, obeys no name and asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_up import MadeUp
from made_up_hostile import HOSTILE

from irkit.api.leaderboard import make_leaderboard
from irkit.core.text import inert, well_formed
from irkit.report.results import Results, save_results

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
NAMES = ["bm25", "dense", "hybrid", "hybrid-rerank"]
PAPER = "getComputedStyle(document.body).backgroundColor"


def written(folder: Path, *experiments: Results, title: str = "Ours") -> str:
    """Return the page of some experiments, which come one after the other, so that there is a past."""
    runs = []
    for number, results in enumerate(experiments):
        made = {"created": f"2026-03-0{number + 1}T12:00:00+00:00"}
        provenance = results.provenance.model_copy(update=made)
        runs.append(folder / f"run-{number}")
        runs[-1].mkdir()
        save_results(results.model_copy(update={"provenance": provenance}), [], runs[-1])
        make_leaderboard(runs, output=folder / "board", title=title)
    return (folder / "board" / "leaderboard.html").read_text(encoding="utf-8")


@pytest.fixture
def html(tmp_path: Path, made: MadeUp) -> str:
    """Two experiments: of the second, ``dense`` has no score on one collection and ``bm25`` has another one than before."""
    first = made.results.model_copy(update={"experiment": "first"})
    first = first.model_copy(
        update={
            "scores": [
                each for each in first.scores if (each.pipeline, each.collection[-1]) != ("dense", "1")
            ]
        }
    )
    other = [
        each.model_copy(update={"value": each.value / 2}) if each.pipeline == "bm25" else each
        for each in first.scores
    ]
    return written(tmp_path, first, first.model_copy(update={"experiment": "second", "scores": other}))


def column(page: Page, place: int) -> list[str]:
    """Return the values of a column of the ranking, as they are sorted by."""
    values: list[str] = page.locator("table.board tbody tr").evaluate_all(
        "(rows, place) => rows.map((row) => row.cells[place].dataset.value ?? row.cells[place].textContent)",
        place,
    )
    return values


def test_a_head_sorts_by_click_and_empty_cells_stay_last(open_html: Open, html: str) -> None:
    page = open_html(html)
    given = column(page, 1)
    assert sorted(given) == NAMES and given[-1] == "dense"
    mean = page.locator("table.board thead th").nth(2)
    for turn, backwards in (("descending", True), ("ascending", False)):
        mean.locator("button").click()
        assert mean.get_attribute("aria-sort") == turn
        *values, last = column(page, 2)
        assert last == "" and column(page, 1)[-1] == "dense"
        assert [float(each) for each in values] == sorted(map(float, values), reverse=backwards)
        assert turn in page.locator("#status").inner_text()
    mean.locator("button").click()
    assert (mean.get_attribute("aria-sort"), column(page, 1)) == (None, given)
    page.locator("table.board thead button", has_text="Pipeline").click()
    assert column(page, 1) == NAMES


def test_what_changed_and_a_row_are_shown(open_html: Open, html: str) -> None:
    page = open_html(html)
    assert "bm25" in page.locator("#changes").inner_text()
    assert page.locator("table.board svg.spark").count() > 0
    row = page.locator("#rows details").first
    assert row.get_attribute("open") is None
    page.locator("table.board tbody th a").first.click()
    assert row.get_attribute("open") is not None and row.locator("pre").first.is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(open_html: Open, html: str, dark: bool) -> None:
    page = open_html(html, dark=dark)
    light_paper, dark_paper = "rgb(253, 252, 249)", "rgb(23, 24, 26)"
    assert page.evaluate(PAPER) == (dark_paper if dark else light_paper)
    page.click("#theme")
    assert page.evaluate(PAPER) == (light_paper if dark else dark_paper)


def test_without_its_script_it_is_a_table(open_html: Open, html: str) -> None:
    page = open_html(html, java_script_enabled=False)
    assert page.locator("table.board tbody tr").count() == len(NAMES)
    assert not page.locator("#theme").is_visible()


@pytest.mark.parametrize("which", ["made", "bad"])
def test_a_narrow_page_does_not_scroll_sideways(
    open_html: Open, tmp_path: Path, which: str, request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(which).results
    page = open_html(
        written(tmp_path, results, title="x" * 60 if which == "made" else HOSTILE[0]), width=390, height=800
    )
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1
          && !each.closest(".scroll, .sr, pre, [hidden]")).slice(0, 5).map((each) => each.outerHTML.slice(0, 120))"""
    )
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), wide


def test_hostile_names_are_nothing_but_text(open_html: Open, tmp_path: Path, bad: MadeUp) -> None:
    page = open_html(written(tmp_path, bad.results, title=well_formed(" ".join(HOSTILE))))
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = page.evaluate(
        """() => ({
          tags: [...new Set([...document.querySelectorAll("*")].map((each) => each.localName))],
          scripts: document.scripts.length,
          handlers: [...document.querySelectorAll("*")].flatMap((each) => each.getAttributeNames())
            .filter((each) => each.startsWith("on")),
          addresses: [...document.querySelectorAll("[href], [src]")]
            .map((each) => each.getAttribute("href") ?? each.getAttribute("src")),
        })"""
    )
    assert not {"img", "iframe", "object", "embed", "form", "base"} & set(found["tags"])
    assert (found["scripts"], found["handlers"]) == (1, [])
    assert all(each.startswith(("#", "data:,")) for each in found["addresses"])
    shown = page.locator("table.board tbody").evaluate("body => body.textContent")
    for text in HOSTILE:
        assert inert(well_formed(text)) in shown, text
    page.locator("table.board thead button").nth(1).click()
    assert page.locator("table.board tbody tr").count() == len(HOSTILE)


def test_a_report_of_the_same_experiment_looks_the_same(
    open_html: Open, open_report: Open, html: str, made: MadeUp
) -> None:
    ours, report = open_html(html), open_report(*made)
    for what in ("fontFamily", "color", "backgroundColor"):
        style = f"getComputedStyle(document.body).{what}"
        assert ours.evaluate(style) == report.evaluate(style)
