"""Many experiments in one ranking: rows, ranks, and what is refused."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboards import board, info, made

from irkit.core.errors import ConfigError, ReportError
from irkit.report.judged_alike import differences
from irkit.report.leaderboard import Leaderboard
from irkit.report.leaderboard_page import doubts, notes
from irkit.report.results import Results


def ranks(found: Leaderboard) -> dict[str, int | None]:
    return {row.label: row.rank for row in found.rows}


def test_rows_of_several_experiments_are_ranked_by_their_mean() -> None:
    found = board(
        made("one", 1, {"a": {"x": 0.5, "y": 0.7}, "b": {"x": 0.9, "y": 0.1}}),
        made("two", 2, {"c": {"x": 0.6, "y": 0.8}}),
    )
    assert ranks(found) == {"c": 1, "a": 2, "b": 3}
    assert found.rows[0].mean == pytest.approx(0.7)
    assert [row.mean_rank for row in found.rows] == [1.5, 2.5, 2.0]


def test_ties_to_four_decimals_share_a_rank_and_the_next_is_left_free() -> None:
    found = board(
        made("e", 1, {"a": {"x": 0.50001}, "b": {"x": 0.50003}, "c": {"x": 0.5001}, "d": {"x": 0.1}})
    )
    assert ranks(found) == {"c": 1, "a": 2, "b": 2, "d": 4}


def test_only_complete_rows_have_a_rank_and_the_others_say_what_is_missing() -> None:
    found = board(made("e", 1, {"a": {"x": 0.5, "y": 0.5}, "b": {"x": 0.99}}))
    assert ranks(found) == {"a": 1, "b": None}
    assert (found.rows[1].missing, found.rows[1].mean) == (("y",), None)
    assert ranks(board(made("e", 1, {"a": {"x": 0.5, "y": 0.5}, "b": {"x": 0.99}}), collections=["x"])) == {
        "b": 1,
        "a": 2,
    }


def test_a_ranking_says_that_a_mean_is_not_tested() -> None:
    first, *_ = notes(board(made("first", 1, {"bm25": {"a": 0.5, "b": 0.7}})))
    assert "within each collection only: a mean carries no test" in first


def test_a_macro_set_counts_once() -> None:
    forums = [info(name, policy={"macro": "forums"}) for name in ("f1", "f2")]
    found = board(
        made(
            "e",
            1,
            {"a": {"f1": 0.2, "f2": 0.4, "x": 0.9}, "b": {"f1": 0.9, "f2": 0.9, "x": 0.2}},
            infos=forums,
        )
    )
    assert found.rows[0].label == "a" and found.rows[0].mean == pytest.approx((0.3 + 0.9) / 2)
    assert found.view.members == {"forums": ("f1", "f2"), "x": ("x",)}


def test_the_same_pipeline_is_one_row_of_the_newest_and_older_scores_fill_in() -> None:
    found = board(made("new", 2, {"a": {"x": 0.6}}), made("old", 1, {"a": {"x": 0.5, "y": 0.8}}))
    (row,) = found.rows
    assert row.scores == {"x": 0.6, "y": 0.8}
    assert [(o.experiment, o.collections) for o in row.origins] == [("new", ("x",)), ("old", ("y",))]
    (differing,) = row.differing
    assert (differing.experiment, differing.value, differing.newer) == ("old", 0.5, 0.6)
    assert "had 0.5000 on x in old" in doubts(row)[0]


def test_equal_scores_of_an_older_experiment_are_no_doubt() -> None:
    (row,) = board(made("new", 2, {"a": {"x": 0.6}}), made("old", 1, {"a": {"x": 0.60001}})).rows
    assert row.differing == ()


def test_pipelines_of_one_name_that_are_not_the_same_are_told_apart() -> None:
    def labels(second: Results) -> set[str]:
        return {row.label for row in board(made("one", 1, {"a": {"x": 0.5}}), second).rows}

    assert labels(made("two", 2, {"a": {"x": 0.6}}, steps={"a": [{"a": {"k": 99}}]})) == {
        "a (one)",
        "a (two)",
    }
    assert labels(made("two", 2, {"a": {"x": 0.6}}, models={"a": "other@2"})) == {"a (one)", "a (two)"}
    same = labels(made("one", 2, {"a": {"x": 0.6}}, steps={"a": [{"a": {"k": 99}}]}))
    assert same == {"a (one, 2026-03-01T12:00:00+00:00)", "a (one, 2026-03-02T12:00:00+00:00)"}


def test_order_controls_are_left_out_unless_asked_for() -> None:
    one = made("e", 1, {"a": {"x": 0.5}, "shuffled": {"x": 0.4}}, controls={"shuffled": "a"})
    assert (ranks(board(one)), board(one).controls) == ({"a": 1}, 1)
    assert ranks(board(one, controls=True)) == {"a": 1, "shuffled": 2}


@given(st.permutations(range(4)))
def test_the_order_of_the_experiments_makes_no_difference(order: list[int]) -> None:
    every = [
        made("one", 1, {"a": {"x": 0.5}}),
        made("two", 1, {"a": {"x": 0.6}, "b": {"x": 0.5}}),
        made("three", 3, {"a": {"y": 0.1}}, steps={"a": []}),
        made("one", 1, {"a": {"x": 0.5}}),
    ]
    assert board(*(every[n] for n in order)) == board(*every)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_ranks_against_a_plain_reference(values: list[float]) -> None:
    found = board(made("e", 1, {f"p{n}": {"x": value} for n, value in enumerate(values)}))
    shown = [round(value, 4) for value in values]
    assert {row.label: row.rank for row in found.rows} == {
        f"p{n}": 1 + sum(other > value for other in shown) for n, value in enumerate(shown)
    }


def test_named_averages() -> None:
    averages = {"both": {"x": ["x"], "set": ["f1", "f2"]}}
    one = made("e", 1, {"a": {"x": 0.5, "f1": 0.2, "f2": 0.4, "z": 0.0}}, averages=averages)
    (row,) = board(one, average="both").rows
    assert row.mean == pytest.approx(fmean([0.5, 0.3]))
    partly = made("e", 1, {"a": {"x": 0.5, "f1": 0.2}}, averages=averages)
    assert board(partly, average="both").view.title == "both (1 of 2)"
    with pytest.raises(ConfigError, match=r"no experiment has an average 'bth'.*\n.*did you mean 'both'"):
        board(one, average="bth")
    other = made("f", 2, {"a": {"x": 0.5}}, averages={"both": {"x": ["x"]}})
    with pytest.raises(ConfigError, match="mean different things by 'both': e and f"):
        board(one, other, average="both")


def test_the_metric() -> None:
    one, two = made("e", 1, {"a": {"x": 0.5}}, metric="mrr@10"), made("f", 2, {"b": {"x": 0.5}}, metric="map")
    assert board(one).view.metric == "mrr@10"
    assert ranks(board(one, two, metric="RR@10")) == {"a": 1}
    assert board(one, two, metric="mrr@10").unseen == 1
    with pytest.raises(ConfigError, match="no metric in common"):
        board(one, two)
    with pytest.raises(ConfigError, match="no experiment has the metric 'ndcg@10'"):
        board(one, two, metric="ndcg@10")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fingerprint": "other"}, "other documents or queries"),
        (
            {"fingerprint": "other", "qrels_fingerprint": None},
            "other documents, queries or judgements (fingerprint other",
        ),
        ({"fingerprint": "other", "qrels_fingerprint": "q2"}, "other judgements or excluded documents"),
        (
            {"fingerprint": "o", "policy": {"drop_self": True, "macro": None}},
            "its policy has drop_self true, and false here",
        ),
        (
            {"fingerprint": "o", "policy": {"relevance_level": 2}},
            "its policy has relevance_level 2, and 1 here",
        ),
        ({"policy": {"ties": "rank"}, "with_documents": False}, "its policy has ties rank, and docno here"),
        ({"with_documents": False, "qrels_fingerprint": "q2"}, "other judgements or excluded documents"),
        ({"with_documents": False, "qrels_fingerprint": None}, "made from run files"),
    ],
)
def test_what_is_judged_differently_is_refused(changed: dict[str, Any], told: str) -> None:
    one = made("one", 1, {"a": {"x": 0.5, "y": 0.5}})
    two = made("two", 2, {"b": {"x": 0.5, "y": 0.5}}, infos=[info("x", **changed)])
    with pytest.raises(ReportError) as caught:
        board(one, two)
    (problem,) = caught.value.problems
    assert problem.where == "one" and problem.message.startswith("x is judged differently in two: ")
    assert told in problem.message and "--collections" in str(problem.hint)
    assert ranks(board(one, two, collections=["y"])) == {"a": 1, "b": 1}


def test_run_files_judged_by_the_same_judgements_may_stand_beside_runs() -> None:
    bare = info("x", with_documents=False, fingerprint="of files")
    found = board(made("files", 1, {"b": {"x": 0.4}}, infos=[bare]), made("run", 2, {"a": {"x": 0.5}}))
    assert ranks(found) == {"a": 1, "b": 2} and found.without_documents == ("x",)
    assert found.view.infos["x"].with_documents
    assert list(differences(bare, info("x"))) == list(differences(info("x"), bare)) == []


def test_only_scores_that_are_shown_count_as_those_of_run_files() -> None:
    bare = info("x", with_documents=False, fingerprint="of files")
    older, newer = made("files", 1, {"a": {"x": 0.4}}, infos=[bare]), made("run", 2, {"a": {"x": 0.5}})
    assert board(older, newer).without_documents == ()
    other = made("files", 1, {"b": {"x": 0.4}}, infos=[bare], metric="map")
    assert board(other, newer).without_documents == ()
    filled = made("files", 1, {"a": {"x": 0.4, "y": 0.2}}, infos=[bare, info("y", with_documents=False)])
    assert board(filled, newer, collections=["x"]).without_documents == ()
    whole = made("run", 2, {"a": {"x": 0.5}, "b": {"y": 0.5}})
    assert board(filled, whole).without_documents == ("y",)


def test_another_policy_and_other_judgements_are_both_told() -> None:
    policy = {"relevance_level": 2}
    both = info("x", fingerprint="other", qrels_fingerprint="q2", policy=policy)
    found = list(differences(info("x"), both))
    assert len(found) == 2 and "relevance_level 2" in found[0]
    assert found[1].startswith("other judgements or excluded documents (fingerprint other")
    alone = info("x", fingerprint="other", policy=policy)
    assert len(list(differences(info("x"), alone))) == 1


def test_an_older_file_without_the_new_keys_of_a_policy_is_alike() -> None:
    older = info("x", qrels_fingerprint=None, policy={"drop_self": False, "macro": None})
    assert list(differences(older, info("x"))) == []
