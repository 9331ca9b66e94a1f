"""The page as a whole: it asks for nothing, obeys no text, and can be used with keys alone, narrow and on paper."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_up
import pytest
from made_up import MadeUp
from made_up_hostile import HOSTILE

import irkit.report
from irkit.core.text import inert, well_formed
from irkit.report.build import render

from .conftest import Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = ("leaderboard", "plots-view", "funnel-view", "explorer-view", "pairs-view", "costs-view")
FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])"
REACHABLE = f"""() => [...document.querySelectorAll("{FOCUSABLE}")].filter((each) =>
  each.tabIndex >= 0 && !each.disabled && each.checkVisibility({{ visibilityProperty: true }})
  && !(each.type === "radio" && !each.checked))"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_view_is_drawn(open_report: Open, made: MadeUp, dark: bool) -> None:
    page = open_report(*made, dark=dark)
    for view in VIEWS:
        root = page.locator(f"#{view}")
        assert root.inner_text().strip(), view
        assert "This view failed" not in root.inner_text()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(23, 24, 26)" if dark else "rgb(253, 252, 249)")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_every_choice_can_be_made(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    for place in range(page.locator("main select").count()):
        select = page.locator("main select").nth(place)
        if not select.is_visible():
            continue
        for value in select.locator("option").evaluate_all("all => all.map((each) => each.value)"):
            select.select_option(value)
            page.wait_for_selector("html:not([data-busy])")
    assert page.get_by_text("This view failed").count() == 0


def test_an_address_of_another_report_breaks_nothing(open_report: Open, made: MadeUp) -> None:
    at = "explorer?metric=nothing&collection=%3Cscript%3E&pipeline=__proto__&other=constructor&qid=%F0&column=%00"
    page = open_report(*made, at=at)
    assert page.locator("#pairs-view select[data-key=collection]").input_value() == "suite/set-00"
    assert page.get_by_text("This view failed").count() == 0


def _elements(page: Page) -> dict[str, Any]:
    return page.evaluate(
        """() => ({
          tags: [...new Set([...document.querySelectorAll("*")].map((each) => each.localName))],
          scripts: [...document.scripts].filter((each) => !each.id.startsWith("data-")).length,
          handlers: [...document.querySelectorAll("*")].flatMap((each) => each.getAttributeNames())
            .filter((each) => each.startsWith("on")),
          addresses: [...document.querySelectorAll("[href], [src]")]
            .map((each) => each.getAttribute("href") ?? each.getAttribute("src")),
        })"""
    )


def test_hostile_texts_are_nothing_but_text(open_report: Open, bad: MadeUp) -> None:
    page = open_report(*bad)
    clean = set(_elements(open_report(*made_up.experiment(pipelines=5)))["tags"])
    for select in page.locator("main select[data-key]").all()[:12]:
        if select.is_visible():
            select.select_option(index=min(2, select.locator("option").count() - 1))
    page.wait_for_selector("html:not([data-busy])")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = _elements(page)
    # Other data may show what the clean page has no reason for, but never these.
    assert not {"img", "iframe", "object", "embed", "form", "base", "audio", "video", "foreignobject"} & set(
        found["tags"]
    )
    assert {"script", "style", "meta", "link"} <= clean
    assert found["scripts"] == 1
    assert not found["handlers"]
    assert all(each.startswith(("#", "data:,")) for each in found["addresses"])
    assert "7 * 7" in page.locator("main").inner_text()
    heads = page.locator("#leaderboard").evaluate("root => root.textContent")
    for text in HOSTILE[:6]:
        assert inert(well_formed(text)) in heads, text
    assert page.get_by_text("This view failed").count() == 0


def test_names_and_ids_stand_as_they_are(open_report: Open, bad: MadeUp) -> None:
    page = open_report(*bad)
    options = page.locator("#pairs-view select[data-key=other] option").evaluate_all(
        "all => all.map((each) => each.value)"
    )
    assert options == [well_formed(each) for each in HOSTILE]
    shown = page.locator("#explorer-view").evaluate("root => root.textContent")
    assert any(each in shown for each in bad.per_query[0].qid)


def test_without_its_script_the_page_has_the_leaderboard(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made, java_script_enabled=False)
    table = page.locator("#leaderboard table")
    assert table.locator("tbody tr").count() == 4
    score = made.results.value("suite/set-00", "bm25", "ndcg@10")
    assert f"{score:.4f}" in table.inner_text()
    assert "which this browser does not run" in page.locator("noscript").inner_text()
    assert page.locator("#collections table").is_visible()


@pytest.mark.parametrize("which", ["made", "bad"])
def test_a_narrow_page_does_not_scroll_sideways(
    open_report: Open, which: str, request: pytest.FixtureRequest
) -> None:
    page = open_report(*request.getfixturevalue(which), width=390, height=800)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1
          && !each.closest(".scroll, .sr, pre, [hidden]")).slice(0, 5).map((each) => each.outerHTML.slice(0, 120))"""
    )
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), wide


def test_on_paper(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    page.emulate_media(media="print")
    assert not page.locator("nav").first.is_visible()
    assert not page.locator("#theme").is_visible()
    assert not page.locator("#pairs-view select").first.is_visible()
    assert page.locator("#pairs table.compare").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.pdf(format="A4")) > 10_000


def test_keys_reach_every_control(open_report: Open, made: MadeUp) -> None:
    small = made_up.experiment(pipelines=3, collections=1, queries=8, looked_into=3)
    page = open_report(*small)
    wanted = page.evaluate(f"({REACHABLE})().length")
    seen = page.evaluate(
        f"""() => {{
          // A control shows the focus by an outline; a mark in a drawing may change its own paint.
          const paint = (each) => JSON.stringify([each, ...each.querySelectorAll("*")].map(getComputedStyle)
            .map((look) => [look.stroke, look.strokeWidth, look.opacity, look.fill, look.r]));
          const before = new Map([...document.querySelectorAll("svg [tabindex]")].map((each) => [each, paint(each)]));
          window.met = new Set(); window.plain = [];
          addEventListener("focusin", ({{ target }}) => {{
            met.add(target);
            const look = getComputedStyle(target);
            const marked = (look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0)
              || (before.has(target) && before.get(target) !== paint(target));
            if (!marked && target.matches(":focus-visible")) plain.push(target.outerHTML.slice(0, 150));
          }});
          return ({REACHABLE})().length;
        }}"""
    )
    assert wanted == seen > 20
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
    missed = page.evaluate(
        f"({REACHABLE})().filter((each) => !met.has(each)).map((each) => each.outerHTML.slice(0, 150))"
    )
    assert not missed
    assert not page.evaluate("plain"), "focused, and nothing to see of it"


@pytest.mark.parametrize("which", ["made", "bad"])
def test_names_labels_and_order(open_report: Open, which: str, request: pytest.FixtureRequest) -> None:
    page = open_report(*request.getfixturevalue(which))
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = page.evaluate(
        """() => {
          const texts = (list) => list.map((one) => one?.textContent ?? "").join(" ");
          const ids = (each, key) => (each.getAttribute(key) ?? "").split(" ").filter(Boolean);
          const said = (each) => (each.getAttribute("aria-label")
            || texts(ids(each, "aria-labelledby").map((id) => document.getElementById(id)))
            || texts([...(each.labels ?? [])]) || each.textContent || each.title || "").trim();
          const roles = ["img", "group", "graphics-document", "list", "listbox", "application"];
          const refers = ["aria-labelledby", "aria-describedby", "aria-controls"];
          const all = (selector) => [...document.querySelectorAll(selector)];
          const short = (list) => list.slice(0, 5).map((each) => each.outerHTML.slice(0, 160));
          const known = all("[id]").map((each) => each.id);
          return {
            headings: all("h1, h2, h3, h4, h5, h6").map((each) => Number(each.localName[1])),
            duplicates: known.filter((id, place) => known.indexOf(id) !== place),
            unnamed: short(all("button, select, input, a, summary, [role=region], [role=img], [tabindex='0']")
              .filter((each) => !said(each) && !each.querySelector("title"))),
            unlabelled: short(all("select, input").filter((each) => !each.labels?.length && !each.getAttribute("aria-label"))),
            uncaptioned: short(all("table").filter((each) => !each.caption?.textContent.trim())),
            unscoped: short(all("th").filter((each) => !each.scope)),
            dangling: all("main *").flatMap((each) => refers.flatMap((key) => ids(each, key)))
              .filter((id) => !document.getElementById(id)),
            undrawn: short(all("svg").filter((each) => !roles.includes(each.getAttribute("role"))
              && !each.closest("[aria-hidden=true]"))),
          };
        }"""
    )
    levels = found.pop("headings")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert {kind: places for kind, places in found.items() if places} == {}


_CONTRAST = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    paint.fillStyle = under; paint.fillRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colour) => colour.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, place) => sum + x * [0.2126, 0.7152, 0.0722][place], 0);
  const under = (each) => {
    const all = [];
    for (let at = each; at; at = at.parentElement) all.unshift(getComputedStyle(at).backgroundColor);
    return all.reduce((so, colour) => `rgb(${rgb(colour, so).join(" ")})`, "white");
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const each = node.parentElement;
    if (!node.data.trim() || each.closest("script, style, noscript, svg, .sr, option")) continue;
    if (!each.checkVisibility({ visibilityProperty: true })) continue;
    const paper = under(each);
    const look = getComputedStyle(each);
    const [a, b] = [light(rgb(look.color, paper)), light(channels(paper))].sort((x, y) => y - x);
    const size = parseFloat(look.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(look.fontWeight) >= 700) ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < needed) bad.push(`${((a + 0.05) / (b + 0.05)).toFixed(2)}: ${each.outerHTML.slice(0, 140)}`);
  }
  return [...new Set(bad)].slice(0, 6);
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(open_report: Open, made: MadeUp, dark: bool) -> None:
    page = open_report(*made, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate(_CONTRAST) == []


_EMPTY = """() => [...document.querySelectorAll("main .view")].filter((each) => !each.checkVisibility()
  || !each.querySelector(".notice.off")?.innerText.includes("scores.csv")).map((each) => each.id)"""


def test_damaged_data_is_said(made: MadeUp, browser: Any, tmp_path: Any) -> None:
    html = re.sub(r'(id="data-main">).{40}', r"\1", render(made.results, made.per_query))
    path = tmp_path / "damaged.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("() => document.getElementById('status').textContent !== ''")
    assert page.locator("#status").inner_text() == "The data of this page cannot be read."
    assert page.evaluate(_EMPTY) == []
    assert page.locator("#leaderboard table").is_visible()
    page.close()


def test_an_old_browser_is_told_in_every_view(made: MadeUp, browser: Any, tmp_path: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(made.results, made.per_query), encoding="utf-8")
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_function("() => document.getElementById('status').textContent !== ''")
    assert page.locator("main .view").count() == len(VIEWS)
    assert page.evaluate(_EMPTY) == []
    assert "This browser is too old" in page.locator("#pairs-view").inner_text()
    assert page.locator("#leaderboard table").is_visible()
    page.close()


def test_the_script_is_one_that_older_browsers_can_read() -> None:
    """Safari before 16.4 knows no lookbehind: it would run nothing of the page, and could not say so."""
    for path in (Path(irkit.report.__file__).parent / "assets").glob("*.js"):
        assert "(?<=" not in path.read_text(encoding="utf-8") and "(?<!" not in path.read_text(
            encoding="utf-8"
        )


def test_an_address_scrolls_to_its_section_when_all_is_drawn(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made, at="explorer?metric=recall%40100")
    assert abs(page.locator("#explorer").bounding_box()["y"]) < 40  # type: ignore[index]


def test_a_view_that_fails_leaves_the_others_to_follow_an_address(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    page.evaluate(
        """() => {
          globalThis.failed = [];
          console.error = (error) => failed.push(String(error));
          state.listeners.unshift(
            { keys: ["metric"], run: () => { throw new Error("at once"); } },
            { keys: ["metric"], run: async () => { throw new Error("later"); } },
          );
          location.hash = "scores?metric=recall%40100";
        }"""
    )
    page.wait_for_function("() => failed.length === 2")
    assert page.locator("#leaderboard select[data-key=metric]").input_value() == "recall@100"
    assert sorted(page.evaluate("failed")) == ["Error: at once", "Error: later"]
    # a choice made in a view goes to the others, too, when one of that view's own listeners fails
    page.evaluate("state.listeners.forEach((each) => { each.root = null; })")
    page.locator("#leaderboard select[data-key=metric]").select_option("ndcg@10")
    page.wait_for_function("() => failed.length === 4")
    assert page.locator("#pairs-view select[data-key=metric]").input_value() == "ndcg@10"
