"""Run files of other tools: what is read, and what is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irkit.core.errors import DataError
from irkit.evaluate import anyrun
from irkit.evaluate.anyrun import AnyRun, read_any_run


def read(tmp_path: Path, text: str | bytes) -> AnyRun:
    path = tmp_path / "a.run"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_any_run(path)


def rows(run: AnyRun) -> list[tuple[str, str, float, int]]:
    """(query, document, score, line) of every line."""
    return [
        (run.qids[q], run.docnos[d], float(s), int(line))
        for q, d, s, line in zip(run.query, run.doc, run.score, run.line, strict=True)
    ]


def problems(tmp_path: Path, text: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert all(problem.hint for problem in caught.value.problems)
    return [
        ((problem.where or "").removeprefix(str(tmp_path)), problem.message)
        for problem in caught.value.problems
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_all_kinds_of_white_space(tmp_path: Path, packed: bool) -> None:
    text = "\ufeffq1 Q0 a 1 3.5 Anserini\n  q1\tQ0   b\t2  1e0  Anserini\r\n\n# comment of six words, this is\nq2 0 \u3000é 9 -1 x"
    data = text.encode()
    run = read(tmp_path, gzip.compress(data) if packed else data)
    assert rows(run) == [("q1", "a", 3.5, 1), ("q1", "b", 1.0, 2), ("q2", "\u3000é", -1.0, 5)]
    assert (run.tag, run.has_header, run.rank.tolist()) == ("Anserini", False, [1, 2, 9])


def test_a_header_of_ir_metadata_is_noted(tmp_path: Path) -> None:
    text = "# ir_metadata.start\n# tag: x\n# ir_metadata.end\nq Q0 c%20d 1 2 t\n"
    run = read(tmp_path, text)
    assert run.has_header and rows(run) == [("q", "c%20d", 2.0, 4)]


def test_an_id_with_spaces(tmp_path: Path) -> None:
    """As a line of BRIGHT's stackoverflow has it; and a tag of several words."""
    run = read(
        tmp_path,
        "4 Q0 functions/Memory Management_2_0.txt 7 0.6027 reasonir\n"
        "4 Q0 one  two three 8 .5 t\n"
        "4 Q0 d 9 0.4 my own run\n"
        "4\tQ0\ta b\t10\t0.3\tmy run\n",
    )
    assert [(docno, line) for _, docno, _, line in rows(run)] == [
        ("functions/Memory Management_2_0.txt", 1),
        ("one  two three", 2),
        ("d", 3),
        ("a b", 4),
    ]
    assert rows(run)[0][2] == np.float32(0.6027)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 0.5", "5 columns"),
        ("q d 1", "3 columns"),
        ("q Q0 d 1 2 3 t", "7 columns, of which either the document's id or the tag has spaces"),
        ("q Q0 d e f g h", "7 columns"),
        ("q Q0 d 1 x t", "'x' is not a finite score"),
        ("q Q0 d 1 nan t", "'nan' is not a finite score"),
        ("q Q0 d 1 -inf t", "'-inf' is not a finite score"),
        ("q Q0 d 1 1e39 t", "'1e39' is not a finite score"),
        ("q Q0 a b 1 NaN t", "'NaN' is not a finite score"),
    ],
)
def test_a_line_that_cannot_be_read(tmp_path: Path, line: str, message: str) -> None:
    text = f"q Q0 a 1 2 t\n{line}\nq Q0 b 2 1 t\n"
    assert problems(tmp_path, text) == [("/a.run:2", message)]


def test_the_first_ten_problems_are_enough(tmp_path: Path) -> None:
    found = problems(tmp_path, "q Q0 a 1 x t\n" * 50)
    assert [where for where, _ in found] == [f"/a.run:{line}" for line in range(1, 11)]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path, b"q Q0 a 1 2 t\nq Q0 \xff 1 2 t\n")[0][0] == "/a.run:2"
    cut = gzip.compress(b"q Q0 a 1 2 t\n" * 1000)[:-20]
    assert "cut short" in problems(tmp_path, cut)[0][1]
    assert problems(tmp_path, "")[0][1] == "the run file has no line"
    assert problems(tmp_path, "# only a comment\n\n")[0][1] == "the run file has no line"
    for path, message in ((tmp_path / "absent", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(DataError, match=message):
            read_any_run(path)


def test_a_rank_that_is_no_number_matters_to_nobody(tmp_path: Path) -> None:
    run = read(tmp_path, "q Q0 a first 2 t\nq Q0 b - 1 t\n")
    assert np.isnan(run.rank).all() and len(rows(run)) == 2


word = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=4)
lines_of_text = st.one_of(
    st.tuples(word, word, st.integers(1, 99), st.floats(-99, 99)).map(
        lambda t: (f"q{t[0]} Q0\t{t[1]}  {t[2]} {t[3]!r} tag", (f"q{t[0]}", t[1], float(np.float32(t[3]))))
    ),
    st.sampled_from([("", None), ("# a comment", None), ("  \t", None)]),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines_of_text, min_size=1, max_size=12), st.integers(1, 60), st.booleans())
def test_blocks_make_no_difference(
    tmp_path: Path, pairs: list[tuple[str, tuple[str, str, float] | None]], block: int, ended: bool
) -> None:
    path = tmp_path / "x"
    path.write_text("\n".join(line for line, _ in pairs) + "\n" * ended, encoding="utf-8")
    expected = [(*row, number) for number, (_, row) in enumerate(pairs, 1) if row]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyrun, "_BLOCK", block)
        if expected:
            assert rows(read_any_run(path)) == expected
        else:
            with pytest.raises(DataError, match="no line"):
                read_any_run(path)
