"""Where no row has a score on everything in view: which collections would rank how many."""

from __future__ import annotations

from leaderboards import board, info, made

from irkit.report.leaderboard_choices import choices, choices_told
from irkit.report.leaderboard_page import Shown, markdown, notes, page
from irkit.report.results import Results


def _apart() -> tuple[Results, ...]:
    limit = {name: {"limit?n=46&k=2": 0.5} for name in ("a", "b", "c")}
    return made("limit", 1, limit), made("mine", 2, {"d": {"my/test": 0.5}, "e": {"my/test": 0.4}})


def test_experiments_over_other_collections_say_what_to_choose() -> None:
    found = board(*_apart())
    assert not found.ranked
    told = "choose collections: -c 'limit?n=46&k=2' ranks 3 pipelines; -c my/test ranks 2"
    assert choices_told(found) == told
    assert any(told in note for note in notes(found))
    shown = Shown(
        "t", found, "2026-03-01T12:00:00+00:00", "0.1.0", 1, None, {row.key: [] for row in found.rows}
    )
    assert "my/test ranks 2" in markdown(shown)
    html = page(shown)
    assert "-c my/test ranks 2" in html
    assert '<a href="#ranking">which collections would rank how many</a>' in html


def test_a_choice_ranks_as_many_as_it_says() -> None:
    forums = [info(name, policy={"macro": "forums"}) for name in ("f1", "f2")]
    experiments = (
        made("one", 1, {"a": {"f1": 0.1, "f2": 0.2, "x": 0.3}, "b": {"f1": 0.1, "f2": 0.2}}, infos=forums),
        made("two", 2, {"c": {"x": 0.3, "y": 0.4}, "d": {"f1": 0.3}}, infos=forums[:1]),
    )
    found = board(*experiments)
    assert not found.ranked
    # c has y beside x; to y alone x can be added without a loss
    offered = {each.members: each.rows for each in choices(found)}
    assert offered == {("forums",): 2, ("x",): 2, ("forums", "x"): 1, ("x", "y"): 1}
    for members, rows in offered.items():
        assert len(board(*experiments, collections=list(members)).ranked) == rows


def test_a_named_average_is_chosen_by_its_collections() -> None:
    averages = {"ours": {"pair": ["x", "y"], "z": ["z"]}}
    experiments = (
        made("one", 1, {"a": {"x": 0.1, "y": 0.2}}, averages=averages),
        made("two", 2, {"b": {"z": 0.3}, "c": {"z": 0.4}}),
    )
    found = board(*experiments, average="ours")
    assert choices_told(found) == "choose collections: -c z ranks 2 pipelines; -c x,y ranks 1"
    for names, rows in ((["z"], 2), (["x", "y"], 1)):
        assert len(board(*experiments, average="ours", collections=names).ranked) == rows


def test_many_choices_are_cut_and_none_is_said() -> None:
    many = [made(f"e{n}", n + 1, {f"p{n}": {f"c{n}": 0.5}}) for n in range(7)]
    told = choices_told(board(*many))
    assert told.count("-c ") == 5 and told.endswith("; there are 2 more choices")
    forums = [info(name, policy={"macro": "forums"}) for name in ("f1", "f2")]
    halves = [
        made(name, 1, {name: {name: 0.5}}, infos=[each])
        for name, each in zip(("f1", "f2"), forums, strict=True)
    ]
    assert choices_told(board(*halves)) == "no row has all of the collections that count as one"


def test_a_ranking_with_ranks_says_nothing_of_it() -> None:
    assert not any("choose" in note for note in notes(board(made("e", 1, {"a": {"x": 0.5}}))))
