"""The comparisons: what stands there is what the values per query give."""

from __future__ import annotations

import re

import made_up
import numpy as np
import pytest
from made_up import MadeUp

from irkit.config.statistics import Statistics
from irkit.report import format as fmt
from irkit.report.pairs import families

from .conftest import Open


@pytest.fixture(scope="module")
def all_pairs() -> MadeUp:
    return made_up.experiment(statistics=Statistics(pairs="all", resamples=200))


def _row(page, name: str) -> list[str]:  # type: ignore[no-untyped-def]
    row = page.locator("#pairs table.compare tbody tr").filter(
        has=page.locator("th", has_text=re.compile(f"^{name}$"))
    )
    return [" ".join(text.split()) for text in row.locator("th, td").all_inner_texts()]


def _deltas(made: MadeUp, collection: int, metric: str, ours: str, other: str) -> np.ndarray:
    values = made.per_query[collection].values
    return np.subtract(values[ours][metric], values[other][metric]).round(9)


def _expected(deltas: np.ndarray) -> list[str]:
    counts = [(deltas > 0).sum(), (deltas == 0).sum(), (deltas < 0).sum()]
    return [fmt.count(int(each)) for each in counts]


def test_against_the_baseline(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    family = next(f for f in families(made.results, made.per_query) if f.metric == "ndcg@10")
    pair = next(pair for pair in family.pairs if pair.ours == "hybrid-rerank")
    cells = _row(page, "hybrid-rerank")
    assert cells[1:4] == _expected(_deltas(made, 0, "ndcg@10", "hybrid-rerank", "bm25"))
    assert pair.interval is not None and pair.effect is not None and pair.p_value is not None
    low, high = map(fmt.delta, pair.interval)
    assert cells[4] == f"{fmt.delta(pair.mean)} {low} to {high} d {fmt.effect(pair.effect)}"
    assert cells[5] == fmt.p_value(pair.p_value) + ("* (significant)" if pair.significant else "")
    assert family.how in " ".join(page.locator("#pairs .told").inner_text().split())
    assert "statistics: {pairs: all}" in page.locator("#pairs").inner_text()
    assert page.locator("#pairs table.matrix").count() == 0


def test_the_histogram_counts_every_query_but_ties(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    deltas = _deltas(made, 0, "ndcg@10", "dense", "bm25")
    limit = max(
        np.abs(_deltas(made, 0, "ndcg@10", each, "bm25")).max()
        for each in ("dense", "hybrid", "hybrid-rerank")
    )
    edges = np.linspace(-limit, limit, 25)
    wanted = np.histogram(deltas[deltas != 0], edges)[0]
    tallest = int(re.search(r"stands for (\d+) quer", page.locator("#pairs caption").first.inner_text())[1])  # type: ignore[index]
    drawing = page.locator("#pairs table.compare tbody tr").nth(0).locator("svg")
    bars = drawing.locator("rect").evaluate_all(
        "all => all.map((bar) => [bar.classList[0], Number(bar.getAttribute('x')), Number(bar.getAttribute('height'))])"
    )
    found = {
        round((x - 119) / 9.5) + 12 if kind == "lost" else round((x - 122) / 9.5) + 12: height
        for kind, x, height in bars
    }
    assert found == {place: pytest.approx(44 * n / tallest) for place, n in enumerate(wanted) if n}
    wins, losses = (deltas > 0).sum(), (deltas < 0).sum()
    assert (drawing.get_attribute("aria-label") or "").endswith(f": {losses} losses, {wins} wins")


def test_choices_change_what_is_compared(open_report: Open, made: MadeUp) -> None:
    page = open_report(*made)
    page.select_option("#pairs-view select[data-key=collection]", "suite/set-01")
    page.select_option("#pairs-view select[data-key=metric]", "recall@100")
    page.wait_for_selector("html:not([data-busy])")
    assert _row(page, "dense")[1:4] == _expected(_deltas(made, 1, "recall@100", "dense", "bm25"))
    assert "collection=suite%2Fset-01" in page.url
    page.select_option("#pairs-view select[data-key=other]", "hybrid")
    page.wait_for_selector("html:not([data-busy])")
    cells = _row(page, "dense")
    deltas = _deltas(made, 1, "recall@100", "dense", "hybrid")
    assert cells[1:5] == [*_expected(deltas), fmt.delta(float(deltas.mean()))]
    assert "not tested" in cells[5]


def test_all_pairs_are_seen_from_either_side(open_report: Open, all_pairs: MadeUp) -> None:
    page = open_report(*all_pairs, at="pairs?other=hybrid-rerank")
    deltas = _deltas(all_pairs, 0, "ndcg@10", "hybrid", "hybrid-rerank")
    family = families(all_pairs.results, all_pairs.per_query)[0]
    pair = next(each for each in family.pairs if {each.ours, each.other} == {"hybrid", "hybrid-rerank"})
    assert pair.ours == "hybrid-rerank" and pair.interval is not None
    cells = _row(page, "hybrid")
    assert cells[1:4] == _expected(deltas)
    low, high = pair.interval
    assert cells[4].startswith(
        f"{fmt.delta(float(deltas.mean()))} {fmt.delta(-high)} to {fmt.delta(-low)} d "
    )


def test_the_matrix_by_keys(open_report: Open, all_pairs: MadeUp) -> None:
    page = open_report(*all_pairs)
    matrix = page.locator("#pairs table.matrix")
    heads = [" ".join(each.split()).split(" ", 1)[1] for each in matrix.locator("tbody th").all_inner_texts()]
    scores = [all_pairs.results.value("suite/set-00", each, "ndcg@10") for each in heads]
    assert scores == sorted(scores, reverse=True)
    assert matrix.locator("button[tabindex='0']").count() == 1
    first = matrix.locator("button").first
    first.focus()
    for key in (
        "ArrowRight",
        "ArrowDown",
        "ArrowLeft",
    ):  # (0, 1) -> (0, 2) -> (1, 2) -> over the diagonal: (1, 0)
        page.keyboard.press(key)
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(f"{heads[1]} less {heads[0]}: {fmt.delta(scores[1] - scores[0])}")
    page.keyboard.press("Enter")
    page.wait_for_selector("html:not([data-busy])")
    assert page.locator("#pairs-view select[data-key=other]").input_value() == heads[0]
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == label, "the focus stays"


def test_what_cannot_be_compared_is_said(open_report: Open, made: MadeUp) -> None:
    one = made_up.experiment(pipelines=1)
    assert "one pipeline" in open_report(*one).locator("#pairs").inner_text()
    no_values = open_report(made.results)
    assert "There are no values per query of ndcg@10" in no_values.locator("#pairs").inner_text()
    nobody = made.results.model_copy(update={"baseline": None})
    page = open_report(nobody, made.per_query)
    assert "names no baseline" in page.locator("#pairs").inner_text()
    assert _row(page, "dense")[1:4] == _expected(_deltas(made, 0, "ndcg@10", "dense", "bm25"))
    less = [
        each.model_copy(
            update={"values": {**each.values, "dense": {"recall@100": each.values["dense"]["recall@100"]}}}
        )
        for each in made.per_query
    ]
    page = open_report(made.results, less)
    assert "dense has no values of ndcg@10 per query" in page.locator("#pairs").inner_text()
    ties = made.per_query[0].model_copy(
        update={"values": dict.fromkeys(made.per_query[0].values, made.per_query[0].values["bm25"])}
    )
    assert "every query is a tie" in open_report(made.results, [ties]).locator("#pairs").inner_text()
