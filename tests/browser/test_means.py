"""Means are known by what they are of, and not by their titles."""

from __future__ import annotations

from typing import Any

from known_scores import known_scores

AVERAGES = {
    "Mean of a/one": {"group": ["a/one", "b/two"], "c/three": ["c/three"]},
    "Second": {"a/one": ["a/one"]},
}
"""The first is called like the mean of a macro set, and has a member that is none."""


def test_an_average_leads_whatever_it_is_called(open_report: Any) -> None:
    results, per_query = known_scores()
    page = open_report(results.model_copy(update={"averages": AVERAGES}), per_query)
    assert page.evaluate("board.first().name") == "Mean of a/one"
    assert page.evaluate("board.first().parts") == [["a/one", "b/two"], ["c/three"]]


def test_the_cost_of_an_average_is_that_of_its_members_collections(open_report: Any) -> None:
    results, per_query = known_scores()
    page = open_report(
        results.model_copy(update={"averages": AVERAGES}), per_query, at="plots?column=Mean+of+a%2Fone"
    )
    assert page.locator("#plots-view .cost-marks g[role=img]").count() > 0
