"""Reports opened in Chromium: a page that writes an error, asks for anything or opens a dialog fails its test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_up import MadeUp, experiment
from made_up_hostile import hostile

from irkit.report.build import render
from irkit.report.details import Details, DetailsFile, Funnel
from irkit.report.efficiency import Efficiency
from irkit.report.results import PerQuery, Results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; tests that need one are skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("IRKIT_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
        except api.Error as error:
            pytest.skip(f"no Chromium (set IRKIT_CHROMIUM): {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def open_html(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a page: ``open_html(html, width=1280, height=900, dark=False, at="", **options)``.

    ``at`` is what follows ``#`` in the address, ``options`` go to the browser's context (``java_script_enabled=False``,
    ``reduced_motion="reduce"``).
    """
    seen: list[str] = []
    contexts = []

    def open_(
        html: str, *, width: int = 1280, height: int = 900, dark: bool = False, at: str = "", **options: Any
    ) -> Page:
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            **{"reduced_motion": "reduce", **options},
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: message.type == "error" and seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if (request.is_navigation_request() and request.frame == page.main_frame)
                or request.url.startswith("data:,")
                else seen.append(f"request: {request.url}")
            ),
        )
        page.goto(path.as_uri() + (f"#{at}" if at else ""))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not seen, seen


@pytest.fixture
def open_report(open_html: Open) -> Open:
    """Return a function that renders a report, opens it as ``open_html`` does, and waits until all views are drawn.

    ``open_report(*made, **how)``.
    """

    def open_(
        results: Results,
        per_query: Sequence[PerQuery] = (),
        funnels: Sequence[Funnel] = (),
        details: Sequence[Details] = (),
        efficiency: Efficiency | None = None,
        **how: Any,
    ) -> Page:
        kept = DetailsFile(
            experiment=results.experiment,
            created=results.provenance.created,
            funnels=list(funnels),
            details=list(details),
        )
        page = open_html(render(results, per_query, kept, efficiency), **how)
        if how.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", timeout=15_000)
        return page

    return open_


@pytest.fixture(scope="session")
def made() -> MadeUp:
    """Four pipelines, two collections, 40 queries, two metrics; details of 12 queries a collection."""
    return experiment()


@pytest.fixture(scope="session")
def bad() -> MadeUp:
    """Every name, id and text is hostile."""
    return hostile()
