"""``irkit search --explain``: what the query stages made of a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import changing
import pytest

from irkit.cli.changed import changed_query
from irkit.exec.changes import Step, Term

Irkit = Callable[..., Any]
CHANGED = (
    "--set",
    "pipelines.changed=[{toy-rewrite: {add: e}}, {toy-expand: {add: c}}, {toy-taker: {k: 5}}]",
)


@pytest.fixture(autouse=True)
def stages(toy_stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changing.register_changing()
    monkeypatch.setattr(changing.CUT, changing.cut)


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_query_is_followed_through_its_stages(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "d", "-k", "1", "--explain", *CHANGED)
    assert (ended.code, ended.err) == (0, "")
    assert lines_of(ended.out) == [
        "query: c d",
        "toy-rewrite (add=e)",
        "now: c d e",
        "written anew",
        "toy-expand (add=c)",
        "terms: c* 2, d* 1, e 1 (*: of the query as it was typed)",
        "added c",
        "1 3.0000 d3",
        "b c d e",
    ]
    ended = irkit("search", experiment, "c", "d", "-k", "1", *CHANGED)
    assert lines_of(ended.out) == ["1 3.0000 d3", "b c d e"]


def test_the_last_stage_explains_itself_below(irkit: Irkit, experiment: Path) -> None:
    look = ("--set", "pipelines.look=[{toy-rewrite: {add: e}}, {toy: {k: 5}}, toy-look]")
    ended = irkit("search", experiment, "c", "-k", "2", "--explain", *look)
    assert lines_of(ended.out)[:4] == ["query: c", "toy-rewrite (add=e)", "now: c e", "written anew"]
    assert lines_of(ended.out)[-1].startswith("looked at: c 1.0000, e 1.0000;")  # e is the rewriter's


def test_a_pipeline_without_either_names_one_that_has(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "--explain", "-p", "one", *CHANGED)
    assert ended.code == 2
    assert "cannot explain its scores, and no stage changes the query" in ended.err
    assert "-p 'changed'" in ended.err


def test_without_any_such_pipeline_both_ways_to_have_one_are_told(irkit: Irkit, experiment: Path) -> None:
    ended = irkit("search", experiment, "c", "--explain", "-p", "one")
    assert ended.code == 2
    words = " ".join(ended.err.split())
    assert "such as icr, or give it a query stage, such as rm3" in words


def test_a_query_cannot_steer_the_terminal(irkit: Irkit, experiment: Path) -> None:
    query = "[red]c\x1b]0;two\x07 [/] \x9b2J\rd\x00"
    ended = irkit("search", experiment, query, "--explain", *CHANGED)
    assert ended.code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.out)
    assert ended.out.count("[red]c\N{REPLACEMENT CHARACTER}]0;two") == 3  # typed, rewritten, and a term
    assert "[/]* 1" in ended.out


def shown(*steps: Step, text: str = "tea") -> list[str]:
    return [line.plain.strip() for line in changed_query(text, steps)]


def test_what_stages_say_stays_on_its_line() -> None:
    step = Step("prompt ([bold]\x1b=1)", "tea", "tea", told=("one\ntwo\x1b[2J",))
    assert shown(step) == ["query: tea", "prompt ([bold]\ufffd=1)", "one two\ufffd[2J"]


def test_halves_of_characters_can_be_printed() -> None:
    half = "tea\ud83d"
    step = Step("s", half, f"{half} {half}", (Term(half, 1.0, True),), (half,))
    text = "\n".join(shown(step, text=half))
    assert text.encode().decode().count("tea\N{REPLACEMENT CHARACTER}") == 5


def test_every_way_to_change_a_query_is_told() -> None:
    vector, tokens = Step("a", "t", "t", forms=("vector",)), Step("b", "t", "t", forms=("tokens",))
    assert shown(vector, tokens, Step("c", "t", "t")) == [
        "query: tea",
        *("a", "given: a vector"),
        *("b", "given: further token vectors"),
        *("c", "the query as it was"),
    ]


def test_new_words_and_the_querys_own_terms_are_bold() -> None:
    step = Step("s", "tea", "green tea", (Term("green", 0.5, False), Term("tea", 0.25, True)))
    _, _, now, terms = changed_query("tea", [step])
    bold = [
        [line.plain[s.start : s.end].strip() for s in line.spans if s.style == "bold"]
        for line in (now, terms)
    ]
    assert bold == [["green"], ["tea*"]]
    (unmarked,) = shown(Step("s", "tea", "tea", (Term("green", 0.5, None),)))[2:]
    assert unmarked == "terms: green 0.5"


def test_long_queries_and_long_expansions_are_cut() -> None:
    terms = tuple(Term(f"t{i}", 1.0, False) for i in range(23))
    *_, now, weighted = shown(Step("s", "tea", "tea " * 1000, terms))
    assert now.endswith("... (1999 characters more)")
    assert weighted.endswith("t19 1 and 3 more")
