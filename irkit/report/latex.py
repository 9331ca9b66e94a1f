r"""The score tables for a paper: LaTeX with booktabs, the best in bold, and marks of significance as superscripts.

With tests against the baseline a dagger stands for significantly better, a double dagger for significantly worse. With tests of
all pairs every pipeline has a letter, and a score carries the letters of those that it is significantly better than. A mean over
collections carries no marks, and its caption says so: its tests would have to be of collections, not of queries.

Any names are set as they are: what TeX would obey is escaped, and a character for which pdfLaTeX's first font encoding has no glyph
is written as its code point. Only ``\usepackage{booktabs}`` is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from irkit.core.files import write_atomically
from irkit.report import format as fmt
from irkit.report.pairs import Family, families
from irkit.report.results import PerQuery, Results
from irkit.report.scores import UNTESTED, Cell, Row, ScoreTable, score_tables

LATEX = "scores.tex"
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # behind the end of a row it would begin an option
    "]": "{]}",
    "*": "{*}",
    fmt.MINUS: "$-$",
    fmt.DASH: r"\textendash{}",
}
_DOUBLED = re.compile(r"([-',])(?=\1)")
"""Two of these are another sign: a dash, or quotation marks."""
_NO_GLYPH = "ÐðÞþ×÷"  # noqa: RUF001 - among the letters of Latin-1


def latex(
    results: Results, per_query: Sequence[PerQuery] = (), tested: Sequence[Family] | None = None
) -> str:
    """Return a ``table`` for each collection and mean, one below the other."""
    chosen = families(results, per_query) if tested is None else tested
    made = results.provenance
    command, last = results.commands
    chosen_last = "" if last is None else f"%   the last run of it, on a part: {fmt.plain(last)}\n"
    parts = [
        f"% {fmt.plain(results.experiment)}: made with irkit {fmt.plain(made.irkit)} on {fmt.plain(made.created)} by\n"
        f"%   {fmt.plain(command)}\n"
        f"{chosen_last}"
        r"% In the preamble: \usepackage{booktabs}"
    ]
    for number, scores in enumerate(score_tables(results), 1):
        ours = {family.metric: family for family in chosen if family.collection == scores.name}
        parts.append(_table(results, scores, {} if scores.members else ours, number))
    return "\n\n".join(parts) + "\n"


def write_latex(
    results: Results, folder: Path, per_query: Sequence[PerQuery] = (), tested: Sequence[Family] | None = None
) -> Path:
    """Write ``scores.tex`` into ``folder`` and return its path.

    Raises:
        ReportError: when the folder cannot be written.
    """
    path = folder / LATEX
    write_atomically(path, latex(results, per_query, tested))
    return path


def escape(text: str) -> str:
    """Return ``text`` on one line as TeX that shows it, whatever is in it."""
    return _DOUBLED.sub(r"\1{}", "".join(map(_glyph, fmt.plain(text))))


def letters(number: int) -> str:
    """Return the letters of the pipeline at a place, from 0: a to z, then aa, ab and so on."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _glyph(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if " " <= char <= "~" or ("\xc0" <= char <= "\xff" and char not in _NO_GLYPH):
        return char
    return rf"\texttt{{U+{ord(char):04X}}}"


def _table(results: Results, scores: ScoreTable, tested: Mapping[str, Family], number: int) -> str:
    of_all = results.statistics.pairs == "all" and bool(tested)
    known = {row.pipeline: letters(place) for place, row in enumerate(scores.rows)}
    lines = [" & ".join(["Pipeline", *map(escape, scores.metrics)]) + r" \\", r"\midrule"]
    for row in scores.rows:
        letter = f"{known[row.pipeline]}: " if of_all else ""
        cells = [_cell(cell, row, tested.get(cell.metric), known, of_all) for cell in row.cells]
        lines.append(" & ".join([letter + escape(row.pipeline), *cells]) + r" \\")
    body = "\n".join(f"    {line}" for line in [r"\toprule", *lines, r"\bottomrule"])
    return (
        "\\begin{table}\n  \\centering\n"
        f"  \\caption{{{_caption(scores, tested, of_all)}}}\n"
        f"  \\label{{tab:{_label(results.experiment)}-{number}}}\n"
        f"  \\begin{{tabular}}{{@{{}}l{'l' * len(scores.metrics)}@{{}}}}\n{body}\n  \\end{{tabular}}\n\\end{{table}}"
    )


def _cell(cell: Cell, row: Row, family: Family | None, known: Mapping[str, str], of_all: bool) -> str:
    if cell.value is None:
        return "--"
    value = escape(fmt.metric(cell.value))
    marks = _marks(row.pipeline, family, known, of_all) if family else ""
    return (rf"\textbf{{{value}}}" if cell.best else value) + (f"$^{{{marks}}}$" if marks else "")


def _marks(pipeline: str, family: Family, known: Mapping[str, str], of_all: bool) -> str:
    if not of_all:
        pair = next((each for each in family.pairs if each.ours == pipeline), None)
        if pair is None or pair.better is None:
            return ""
        return r"\dagger" if pair.better == pipeline else r"\ddagger"
    beaten = {
        pair.other if pair.better == pair.ours else pair.ours
        for pair in family.pairs
        if pair.better == pipeline
    }
    found = [letter for name, letter in known.items() if name in beaten]
    separator = "," if any(len(letter) > 1 for letter in found) else ""
    return rf"\mathrm{{{separator.join(found)}}}" if found else ""


def _caption(scores: ScoreTable, tested: Mapping[str, Family], of_all: bool) -> str:
    members = f" over {', '.join(scores.members)}" if scores.members else ""
    parts = [escape(scores.name + members) + "."]
    if scores.members:
        parts.append(f"{UNTESTED}.")
    if scores.has_best:
        parts.append("Bold: best.")
    if tested:
        family = next(iter(tested.values()))
        marks = (
            "Letters: significantly better than these pipelines"
            if of_all
            else rf"$\dagger$, $\ddagger$: significantly better, worse than {escape(scores.baseline or '')}"
        )
        alpha = f"{family.statistics.alpha:g}"
        queries = fmt.plural(family.queries, "query")
        parts.append(f"{marks} ($p < {alpha}$ {escape(family.how)}; {escape(queries)}).")
    parts += [f"--: {escape(reason)}." for reason in scores.reasons]
    return " ".join(parts)


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "scores"
