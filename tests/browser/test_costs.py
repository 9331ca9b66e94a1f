"""Time and space: bars, sums and shared stages of the run, and what was measured."""

from __future__ import annotations

import math

import made_up
import pytest
from made_up import MadeUp

from irkit.report import format as fmt

from .conftest import Open


def _text(locator) -> str:  # type: ignore[no-untyped-def]
    return " ".join(locator.inner_text().split())


def _stages(page):  # type: ignore[no-untyped-def]
    return page.locator("#costs table.costs").last


def test_stages_of_the_run(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    table = _stages(page)
    groups = table.locator("tr.group").all_inner_texts()
    sums = {"bm25": 5.9, "dense": 41.3, "hybrid": 47.204, "hybrid-rerank": 89.806}
    assert [" ".join(each.split()) for each in groups] == [
        f"{name} {fmt.duration(seconds)} in all" for name, seconds in sums.items()
    ]
    rows = [" ".join(each.split()) for each in table.locator("tbody tr:not(.group)").all_inner_texts()]
    assert sum("shared with bm25" in row for row in rows) == 2
    assert sum("shared with hybrid" in row for row in rows) == 1
    bm25, dense = rows[0], rows[1]
    assert "5.20 s 700 ms" in bm25 and "all 40" in bm25 and "3.41 MB" in bm25
    assert "how many queries the time covers is not known" in bm25
    assert fmt.duration(2.4 / 27) in dense and "13 of 40" in dense and "device cpu" in dense
    assert "A shared stage was computed once" in _text(table.locator("caption"))


def test_bars_are_in_proportion(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    longest = max(t.seconds + t.prepare_seconds for t in made.results.stages)
    row = _stages(page).locator("tbody tr:not(.group)").last  # maxsim, not from the store
    bars = row.locator("rect").evaluate_all(
        "all => all.map((bar) => ['class', 'x', 'width'].map((each) => bar.getAttribute(each)))"
    )
    before, work = 100 * 0.9 / longest, 100 * 41.7 / longest
    assert bars == [
        ["prepare", "0.000%", f"{before:.3f}%"],
        ["work", f"{before:.3f}%", f"{work:.3f}%"],
    ]
    assert _stages(page).locator("rect.kept").count() == 3  # bm25's, in three pipelines


def test_what_was_measured(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    told = _text(page.locator("#costs-view p", has_text="Latency is that of one query"))
    for part in (
        "over 100 queries that had run before, after 2,000 runs of others to warm up",
        "Of up to 100 queries, p99 lies between the two slowest",
        "AMD EPYC, 2 processors",
        "2 threads",
        "irkit measure pipelines/made-up.yaml",
        "a process of its own",
    ):
        assert part in told
    row = next(
        e
        for e in made.efficiency.pipelines
        if (e.collection, e.pipeline) == ("suite/set-00", "hybrid-rerank")
    )
    shown = _text(page.locator("#costs table.measured tbody tr").last)
    for part in (
        *(
            fmt.duration(v / 1000)
            for v in (row.latency.p50, row.latency.p95, row.latency.p99, row.latency.mean)
        ),
        fmt.size(row.bytes),
        "4.40",
        "prompt",
        "153 MB",
    ):
        assert part in shown, part
    # A dot at p50, a ring at p99, on one logarithmic axis for all pipelines.
    here = [e.latency for e in made.efficiency.pipelines if e.collection == "suite/set-00"]
    low, high = (
        math.floor(min(math.log10(e.p50) for e in here)),
        math.ceil(max(math.log10(e.p99) for e in here)),
    )
    low = min(low, 0)
    middle = page.locator("#costs table.measured tbody tr").last.locator("circle.middle").get_attribute("cx")
    assert float(middle or 0) == pytest.approx(6 + 138 * (math.log10(row.latency.p50) - low) / (high - low))


def test_what_is_weak_in_what_was_measured_is_said(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    calm = _text(page.locator("#costs-view"))
    for part in ("busy", "keep its pace", "sessions", "≥", "without writing"):
        assert part not in calm

    def of(each):  # type: ignore[no-untyped-def]
        changes = {
            "bm25": {"load": 2.5, "busy": True, "latency": each.latency.model_copy(update={"drift": 1.5})},
            "dense": {
                "load": 7.5,
                "device": "H200",
                "created": "2026-03-15",
                "command": "irkit measure again",
            },
            "hybrid": {"flops_at_least": True},
            "hybrid-rerank": {"excludes": ["writing of texts by a language model"]},
        }
        return each.model_copy(update=changes.get(each.pipeline, {}))

    told = [of(each) for each in made.efficiency.pipelines]
    page = open_report(*made[:4], made.efficiency.model_copy(update={"pipelines": told}))
    weak = _text(page.locator("#costs-view"))
    assert "up to 2.50 processes" in weak and "the other half of bm25" in weak
    assert "in 2 sessions, by irkit measure pipelines/made-up.yaml, irkit measure again" in weak
    rows = [_text(row) for row in page.locator("#costs table.measured tbody tr").all()]
    assert rows[1].startswith("dense H200") and rows[0].startswith("bm25 cpu")
    assert "≥ 4.40" in rows[2] and "≥" not in rows[1]
    assert rows[3].startswith("hybrid-rerank cpu without writing of texts by a language model")


def test_stage_by_stage_and_cold_starts_open(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    assert not page.locator("#costs table", has_text="Every stage by itself").is_visible()
    for text in ("Stage by stage", "Cold start and first query"):
        page.get_by_text(text, exact=True).click()
    stage = next(e for e in made.efficiency.stages if e.stage == "maxsim")
    by_stage = _text(page.locator("#costs table", has_text="Every stage by itself"))
    assert fmt.duration(stage.latency.p95 / 1000) in by_stage
    cold = _text(page.locator("#costs table", has_text="What comes before the latency"))
    for part in (
        fmt.duration(stage.cold_seconds),
        fmt.duration(stage.first_ms / 1000),
        "maxsim index: 611 MB, built in 12.5 s",
    ):
        assert part.replace("index:", "index") in cold.replace("index:", "index"), part
    page.select_option("#costs-view select[data-key=collection]", "suite/set-01")
    page.wait_for_selector("html:not([data-busy])")
    assert page.locator("#costs table", has_text="Every stage by itself").is_visible(), (
        "what is open stays open"
    )
    assert "suite/set-01" in _text(page.locator("#costs caption").first)


def test_what_was_measured_for_other_settings_is_not_shown(open_report: Open, made: MadeUp) -> None:
    stages = [
        each.model_copy(update={"node": "another"}) if each.pipeline == "dense" else each
        for each in made.efficiency.stages
    ]
    other = made.efficiency.model_copy(update={"stages": stages})
    page = open_report(*made[:4], other)
    assert "not shown: dense." in _text(page.locator("#costs"))
    assert "dense" not in [_text(each) for each in page.locator("#costs table.measured tbody th").all()]


def test_nothing_measured_and_nothing_timed(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made[:4])
    assert "Nothing was measured: irkit measure measures" in _text(page.locator("#costs"))
    assert _stages(page).count() == 1
    bare = made.results.model_copy(update={"stages": []})
    assert "The results hold no times." in _text(open_report(bare, made.per_query).locator("#costs"))
    run_files = made_up.experiment(collections=1)
    page = open_report(*run_files[:4])
    assert "Bars of all collections" not in _text(page.locator("#costs"))
