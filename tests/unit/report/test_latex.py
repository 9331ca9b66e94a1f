"""The LaTeX tables: what they mark, and that no name can break them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irkit.config.statistics import Statistics
from irkit.report.latex import escape, latex, letters, write_latex
from irkit.report.results import PerQuery, Results, Score

HOSTILE = r"a_b%c#d$e&f{g}h\input{/etc/passwd}~^<>|" + '"`' + "'' -- [x]* é 漢 😀 \u202e\n\\end{table}"
_COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciicircum{}": "^",
    r"\textasciitilde{}": "~",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textasciigrave{}": "`",
    r"\textendash{}": "\u2013",
    r"\char34{}": '"',
    "{[}": "[",
    "{]}": "]",
    "{*}": "*",
    "$-$": "\u2212",
    "{}": "",
    **{f"\\{char}": char for char in "{}$&#%_"},
}
_TOKEN = re.compile("|".join(map(re.escape, _COMMANDS)) + r"|\\texttt\{U\+([0-9A-F]{4,6})\}|[^\\{}$&#%_^~]")


def shown(tex: str) -> str:
    """Return what TeX shows of an escaped text; anything that TeX would obey fails."""
    text, place = "", 0
    while place < len(tex):
        token = _TOKEN.match(tex, place)
        assert token, tex[place:]
        text += chr(int(token[1], 16)) if token[1] else _COMMANDS.get(token[0], token[0])
        place = token.end()
    return text


def test_a_hostile_name_is_shown_and_not_obeyed() -> None:
    assert shown(escape(HOSTILE)) == HOSTILE.replace("\n", " ").replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    assert escape(HOSTILE).isascii() is False  # é has a glyph
    assert "漢" not in escape(HOSTILE)


@given(st.text())
def test_any_text_is_shown_and_not_obeyed(text: str) -> None:
    tex = escape(text)
    assert "\n" not in tex
    assert not re.search(r"--|''|,,", tex)  # which are other signs
    plain = " ".join(text.split())
    assert shown(tex) == "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)


def test_letters_go_on_behind_z() -> None:
    assert [letters(n) for n in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        "a", "b", "z", "aa", "ab", "az", "ba", "zz", "aaa",
    ]  # fmt: skip


BASE = [0.5] * 10
BETTER = [0.62, 0.74, 0.63, 0.63, 0.5, 0.6, 0.68, 0.58, 0.96, 0.64]
WORSE = [1 - each for each in BETTER]
SAME = [0.6, 0.4] * 5


def _tables(make: Callable[..., Results], statistics: Statistics, **more: list[float]) -> str:
    values = {"base": BASE, "better": BETTER, "worse": WORSE, "same": SAME, **more}
    results = make(
        metrics=["m"],
        pipelines={name: [] for name in values},
        baseline="base",
        controls={},
        expected=[],
        statistics=statistics,
        scores=[
            Score(collection="c", pipeline=name, metric="m", value=sum(row) / len(row))
            for name, row in values.items()
        ],
    )
    qid = [str(number) for number in range(10)]
    one = PerQuery(collection="c", qid=qid, values={name: {"m": row} for name, row in values.items()})
    return latex(results, [one])


def test_daggers_against_the_baseline(make: Callable[..., Results]) -> None:
    text = _tables(make, Statistics())
    assert r"better & \textbf{0.6580}$^{\dagger}$ \\" in text
    assert r"worse & 0.3420$^{\ddagger}$ \\" in text
    assert r"same & 0.5000 \\" in text
    assert r"base & 0.5000 \\" in text
    assert "better, worse than base ($p < 0.05$ of the two-sided paired t-test" in text


def test_letters_of_all_pairs(make: Callable[..., Results]) -> None:
    text = _tables(make, Statistics(pairs="all"))
    assert r"b: better & \textbf{0.6580}$^{\mathrm{acd}}$ \\" in text
    assert r"c: worse & 0.3420 \\" in text
    assert r"d: same & 0.5000$^{\mathrm{c}}$ \\" in text
    assert "dagger" not in text


def test_many_letters_are_told_apart(make: Callable[..., Results]) -> None:
    more = {f"p{number}": WORSE for number in range(30)}
    text = _tables(make, Statistics(pairs="all", correction="none"), **more)
    assert re.search(r"b: better & \\textbf\{0\.6580\}\$\^\{\\mathrm\{a,c,d,e,.*,z,aa,ab,", text)


def test_a_table_for_each_collection_and_mean(
    results: Results, per_query: list[PerQuery], tmp_path: Path
) -> None:
    text = latex(results, per_query)
    assert write_latex(results, tmp_path, per_query).read_text(encoding="utf-8") == text
    tables = text.split(r"\begin{table}")[1:]
    assert len(tables) == text.count(r"\end{table}") == 3
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 3
    assert "dagger" not in tables[2]  # the mean
    assert ["a mean over collections carries no test." in table for table in tables] == [False, False, True]
    for table in tables:
        rows = re.findall(r"^ +(.*) \\\\$", table, re.MULTILINE)
        assert {row.count(" & ") for row in rows} == {len(results.metrics)}
        assert len(rows) == 1 + len(results.pipelines)


def test_hostile_names_everywhere(make: Callable[..., Results]) -> None:
    results = make(
        experiment=HOSTILE,
        baseline=HOSTILE,
        metrics=["m"],
        pipelines={HOSTILE: [], "b": []},
        controls={},
        expected=[],
        scores=[
            Score(collection=HOSTILE, pipeline=name, metric=metric, value=0.5)
            for name in (HOSTILE, "b")
            for metric in ("m", HOSTILE)
        ],
    )
    values = {HOSTILE: {"m": BASE}, "b": {"m": BETTER}}
    text = latex(results, [PerQuery(collection=HOSTILE, qid=list("0123456789"), values=values)])
    assert r"\input" not in re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
    assert text.count(r"\end{table}") - text.splitlines()[0].count(r"\end{table}") == text.count(
        r"\begin{table}"
    )
    body = [line for line in text.splitlines() if not line.startswith("%")]
    depth = 0
    for line in body:  # braces balance line by line
        bare = re.sub(r"\\[{}]", "", line)
        depth += bare.count("{") - bare.count("}")
        assert depth == 0, line


def test_a_value_that_is_missing_is_a_dash(make: Callable[..., Results]) -> None:
    results = make(metrics=["m"], pipelines={"a": [], "b": []}, baseline=None, controls={}, expected=[])
    results = results.model_copy(
        update={"scores": [Score(collection="c", pipeline="a", metric="m", value=0.25)]}
    )
    text = latex(results)
    assert r"b & -- \\" in text
    assert "--: the run gave no value" in text
    assert "Bold" not in text


@pytest.mark.parametrize("name", ["", "***", "Ünï"])
def test_a_label_is_plain(make: Callable[..., Results], name: str) -> None:
    labels = re.findall(r"\\label\{(.*?)\}", latex(make(experiment=name)))
    assert labels
    assert all(re.fullmatch(r"tab:[a-z0-9-]+", each) for each in labels)
