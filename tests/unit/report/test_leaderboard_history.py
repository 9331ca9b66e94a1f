"""What a leaderboard's history keeps, what it says has changed, and which files are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from leaderboards import info, made, snapshot

from irkit.core.errors import ReportError
from irkit.report.leaderboard_history import (
    HISTORY,
    History,
    changes,
    history_text,
    load_history,
    past_means,
    with_snapshot,
)
from irkit.report.results import Results


def test_changes_between_two_snapshots() -> None:
    before = snapshot(made("e", 1, {"a": {"x": 0.5}, "b": {"x": 0.4}, "gone": {"x": 0.1}}))
    after = snapshot(
        made(
            "e",
            2,
            {"a": {"x": 0.5}, "b": {"x": 0.6}, "new": {"x": 0.2}},
        )
    )
    found = changes(before, after)
    assert (found.new, found.gone, found.changed) == (("new",), ("gone",), ())
    assert found.ranks == (("b", 2, 1), ("a", 1, 2))
    (move,) = found.means
    assert (move.label, move.before, move.after) == ("b", 0.4, 0.6)


def test_a_pipeline_that_was_changed_is_the_same_row() -> None:
    before = snapshot(made("e", 1, {"a": {"x": 0.5}}))
    after = snapshot(made("e", 2, {"a": {"x": 0.7}}, steps={"a": [{"a": {"k": 99}}]}))
    found = changes(before, after)
    assert (found.changed, found.new, found.gone) == (("a",), (), ())
    assert past_means([before, after])[after.rows[0].key] == [("d", 0.5), ("d", 0.7)]


def test_scores_and_ranks_are_compared_over_the_same_judgements_only() -> None:
    one = snapshot(made("e", 1, {"a": {"x": 0.5}}))
    wider = snapshot(made("e", 2, {"a": {"x": 0.7, "y": 0.1}}))
    found = changes(one, wider)
    assert found.added == ("y",) and found.means == () and [m.place for m in found.scores] == ["x"]
    anew = snapshot(made("e", 2, {"a": {"x": 0.7}}, infos=[info("x", fingerprint="z")]))
    found = changes(one, anew)
    assert found.judged_anew == ("x",) and not found.scores and not found.means
    assert past_means([one, anew])[anew.rows[0].key] == [("d", 0.7)]


def test_a_score_that_comes_or_goes_is_a_change() -> None:
    whole = snapshot(made("e", 1, {"a": {"x": 0.5, "y": 0.5}, "b": {"x": 0.1, "y": 0.2}}))
    partly = snapshot(made("e", 1, {"a": {"x": 0.5, "y": 0.5}, "b": {"x": 0.1}}))
    assert changes(whole, partly).missing == (("b", "y"),) and changes(whole, partly).ranks == (
        ("b", 2, None),
    )
    assert changes(partly, whole).found == (("b", "y"),)


def test_nothing_new_adds_no_snapshot_and_another_metric_has_a_past_of_its_own() -> None:
    one = made("e", 1, {"a": {"x": 0.5}})
    history, found = with_snapshot(History(), snapshot(one))
    assert found is None and len(history.snapshots) == 1
    again, found = with_snapshot(history, snapshot(one, date="later"))
    assert again is history and found is not None and not found
    hardly, found = with_snapshot(history, snapshot(made("e", 2, {"a": {"x": 0.50001}})))
    assert hardly is history and not found
    other, found = with_snapshot(history, snapshot(made("e", 1, {"a": {"x": 0.9}}, metric="map")))
    assert found is None and len(other.snapshots) == 2
    moved, found = with_snapshot(other, snapshot(made("e", 2, {"a": {"x": 0.6}})))
    assert found and len(moved.snapshots) == 3 and found.means[0].before == 0.5


def test_each_choice_has_a_past_of_its_own() -> None:
    one = made("e", 1, {"a": {"x": 0.5, "y": 0.4}, "a2": {"x": 0.4, "y": 0.1}}, controls={"a2": "a"})
    choices: list[dict[str, Any]] = [
        {},
        {"collections": ["x"]},
        {"controls": True},
        {"collections": ["y", "x"]},
    ]
    history = History()
    for choice in choices:
        history, found = with_snapshot(history, snapshot(one, **choice))
        assert found is None, choice
    for choice in [*choices, {"collections": ["x", "y"]}]:
        again, found = with_snapshot(history, snapshot(one, date="later", **choice))
        assert again is history and found is not None and not found, choice
    wider = made("e", 2, {"a": {"x": 0.5, "y": 0.4, "z": 0.3}})
    _, found = with_snapshot(history, snapshot(wider))
    assert found and found.added == ("z",), "where all are in view, there may be more of them"


def test_a_collection_that_leaves_ends_the_line_of_past_means() -> None:
    wider = snapshot(made("e", 1, {"a": {"x": 0.7, "y": 0.1}}))
    one = snapshot(made("e", 2, {"a": {"x": 0.5}}), date="now")
    assert past_means([wider, one])[one.rows[0].key] == [("now", 0.5)]
    assert changes(wider, one).dropped == ("y",)


def test_rows_of_one_name_and_experiment_are_not_taken_for_each_other() -> None:
    def run(day: int, k: int) -> Results:
        return made("e", day, {"a": {"x": k / 10}}, steps={"a": [{"a": {"k": k}}]})

    found = changes(snapshot(run(1, 1), run(2, 2)), snapshot(run(3, 3)))
    assert (found.changed, len(found.gone), found.new) == ((), 2, ("a",))
    found = changes(snapshot(run(3, 3)), snapshot(run(1, 1), run(2, 2)))
    assert (found.changed, found.gone, len(found.new)) == ((), ("a",), 2)


def test_a_history_of_the_first_version_is_read(tmp_path: Path) -> None:
    history, _ = with_snapshot(History(), snapshot(made("e", 1, {"a": {"x": 0.5}})))
    data = json.loads(history_text(history))
    assert data["schema_version"] == 2
    for each in data["snapshots"]:
        del each["chosen"], each["controls"]
    (tmp_path / HISTORY).write_text(json.dumps({**data, "schema_version": 1}), encoding="utf-8")
    assert load_history(tmp_path) == history


def test_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    history, _ = with_snapshot(History(), snapshot(made("e", 1, {"a": {"x": 0.5}})))
    (tmp_path / HISTORY).write_text(history_text(history), encoding="utf-8")
    assert load_history(tmp_path) == history
    assert load_history(tmp_path / "none") == History()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "the history is damaged"),
        ("[" * 100_000, "the history is damaged"),
        ("\xff", "the history is damaged"),
        ("[]", "not the history of a leaderboard"),
        ('{"experiment": "x", "schema_version": 1}', "not the history of a leaderboard"),
        (
            json.dumps({"kind": "irkit leaderboard", "schema_version": 1, "snapshots": [{}]}),
            "snapshots.0.date",
        ),
        (json.dumps({"kind": "irkit leaderboard", "schema_version": 3}), "version 3"),
    ],
)
def test_a_history_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / HISTORY).write_bytes(text.encode("latin-1"))
    with pytest.raises(ReportError, match=told) as caught:
        load_history(tmp_path)
    assert caught.value.problems[0].hint
