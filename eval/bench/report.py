"""How long the report of a large experiment takes to make and to open, and how large it is.

The experiment is made up: pipelines x collections x queries x metrics, with details of some queries of each collection. The page is
opened in Chromium (playwright; $IRKIT_CHROMIUM names the program): from the navigation to the leaderboard, to the moment when all
views are drawn, and from a choice to the next painted frame.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from irkit.api.report import report
from irkit.config.statistics import Statistics
from irkit.report.build import render
from irkit.report.details import DetailsFile, save_details
from irkit.report.efficiency import save_efficiency
from irkit.report.pairs import families
from irkit.report.results import save_results

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from made_up import METRICS, MadeUp, experiment

ISLAND = re.compile(r'<script type="application/octet-stream" id="data-(\w+)[-\d]*">([^<]*)</script>')
CHOOSE = """async ([selector, value]) => {
  const select = document.querySelector(selector);
  select.focus({ preventScroll: true });
  const started = performance.now();
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await new Promise((done) => setTimeout(done));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - started;
}"""


def sizes(html: str) -> dict[str, int]:
    """Return the bytes of the file, of the islands by kind, and of the rest."""
    found = {"file": len(html.encode())}
    for kind, text in ISLAND.findall(html):
        found[kind] = found.get(kind, 0) + len(text)
    found["the rest"] = found["file"] - sum(size for kind, size in found.items() if kind != "file")
    return found


def build(made: MadeUp, folder: Path) -> list[tuple[str, float]]:
    """Write the experiment's folder and its report; return what took how many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    save_details(made.results, made.funnels, made.details, folder)
    save_results(made.results, made.per_query, folder)
    save_efficiency(made.efficiency, folder)
    rows = []
    started = time.perf_counter()
    tested = families(made.results, made.per_query)
    rows.append(("tests of all families", time.perf_counter() - started))
    kept = DetailsFile(experiment="", created="", funnels=made.funnels, details=made.details)
    started = time.perf_counter()
    render(made.results, made.per_query, kept, made.efficiency, tested)
    rows.append(("the page alone", time.perf_counter() - started))
    started = time.perf_counter()
    report(folder)
    rows.append(("irkit report: reading, tests, page", time.perf_counter() - started))
    return rows


def open_page(path: Path, repeat: int) -> list[tuple[str, float]]:
    """Open the page a few times; return medians in seconds."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("IRKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    board, ready, chosen = [], [], {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(repeat):
            page = browser.new_page()
            page.add_init_script(
                "new MutationObserver(() => { if (!window.drawn && document.querySelector('#leaderboard select')) "
                "window.drawn = performance.now(); if (!window.ready && 'ready' in document.documentElement.dataset) "
                "window.ready = performance.now(); }).observe(document, { subtree: true, childList: true, attributes: true });"
            )
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=120_000)
            board.append(page.evaluate("window.drawn ?? NaN") / 1000)
            ready.append(page.evaluate("window.ready") / 1000)
            for key in ("metric", "collection", "other"):
                for place in page.locator(f"select[data-key={key}]").all()[-1:]:
                    selector = f"#{place.evaluate('e => e.closest(`.view`).id')} select[data-key={key}]"
                    values = place.locator("option").evaluate_all("all => all.map((each) => each.value)")
                    for value in (values[-1], values[0], values[-1]):
                        taken = page.evaluate(CHOOSE, [selector, value]) / 1000
                        chosen.setdefault(f"choice of {key}", []).append(taken)
            page.close()
        browser.close()
    rows = [("leaderboard drawn", statistics.median(board)), ("all views drawn", statistics.median(ready))]
    return rows + [(f"{name}, worst", max(taken)) for name, taken in chosen.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("pipelines", 20), ("collections", 18), ("queries", 1000), ("details", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--all-pairs", action="store_true", help="test all pairs, not those with the baseline"
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="keep the folder there")
    given = parser.parse_args()
    made = experiment(
        pipelines=given.pipelines,
        collections=given.collections,
        queries=given.queries,
        metrics=METRICS,
        looked_into=given.details,
        statistics=Statistics(pairs="all" if given.all_pairs else "baseline"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        rows = build(made, folder)
        rows += open_page((folder / "report.html").resolve(), given.repeat)
        found = sizes((folder / "report.html").read_text(encoding="utf-8"))
    print("| what | seconds |\n|---|--:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} |")
    print("\n| bytes of | |\n|---|--:|")
    for name, size in found.items():
        print(f"| {name} | {size:,} |")


if __name__ == "__main__":
    main()
