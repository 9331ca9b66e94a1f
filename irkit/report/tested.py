"""What tests of pipelines say, short enough for a column of the terminal's score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from irkit.report import format as fmt
from irkit.report.latex import letters
from irkit.report.pairs import Family, Pair, families
from irkit.report.results import PerQuery, Results

MARK = "†"


@dataclass(frozen=True)
class Column:
    """A column about the first metric.

    Attributes:
        head: over it.
        cells: by pipeline; pipelines about which nothing was tested have none.
        letters: by pipeline what others' cells call it; empty with tests against the baseline.
        legend: what it means.
    """

    head: str
    cells: Mapping[str, str]
    letters: Mapping[str, str]
    legend: str

    @property
    def width(self) -> int:
        """The longest cell or head, in characters."""
        return max(len(self.head), *map(len, self.cells.values()))


def first_families(results: Results, per_query: Sequence[PerQuery]) -> dict[str, Family]:
    """Return the tests of the first metric, by collection."""
    of_first = results.model_copy(update={"metrics": results.metrics[:1]})
    return {family.collection: family for family in families(of_first, per_query)}


def columns_of(family: Family, baseline: str | None, pipelines: Sequence[str]) -> list[Column]:
    """Return what to show of a family, in full and, where it can be shorter, in brief.

    Against the baseline ``0.0300† 120/50/130``, or p alone; of all pairs the letters of the beaten.
    """
    alpha = f"{family.statistics.alpha:g}"
    if family.statistics.pairs == "all":
        known = {name: letters(place) for place, name in enumerate(pipelines)}
        cells = {name: _beaten(name, family.pairs, known) for name in family.pipelines}
        legend = f"better than: significantly, on {family.metric}, p < {alpha} {family.how}"
        return [Column("better than", cells, known, legend)]
    on = f"on {family.metric}, against {baseline}"
    how = f"{family.how}; {MARK}: below {alpha}"
    full = {pair.ours: f"{_p(pair)} {_counts(pair)}" for pair in family.pairs}
    brief = {pair.ours: _p(pair) for pair in family.pairs}
    return [
        Column("p, won/tied/lost", full, {}, f"won/tied/lost: queries, {on}; p: {how}"),
        Column("p", brief, {}, f"p: {on}, {how}"),
    ]


def _p(pair: Pair) -> str:
    mark = MARK if pair.significant else " "
    p_value = fmt.DASH if pair.p_value is None else fmt.p_value(pair.p_value)
    return f"{p_value.rjust(7)}{mark}"


def _counts(pair: Pair) -> str:
    return "/".join(map(fmt.count, (pair.wins, pair.ties, pair.losses)))


def _beaten(name: str, pairs: Sequence[Pair], known: Mapping[str, str]) -> str:
    beaten = {pair.other if pair.better == pair.ours else pair.ours for pair in pairs if pair.better == name}
    return " ".join(letter for each, letter in known.items() if each in beaten) or "none"
