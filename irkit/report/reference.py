"""How a run compares with published scores: match, near or off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from irkit.data.published import Published, Verdict
from irkit.report import format as fmt
from irkit.report.averages import mean_of, named_averages, values_of
from irkit.report.results import ReferenceScore, Results

MARKS: dict[Verdict, str] = {"match": "✓", "near": "≈", "off": "✗"}

MEANING = (
    "Match: it rounds to the published score, or differs by no more than a tolerance, the experiment's or one documented with the "
    "published scores (irkit reference show), and then the reason stands beside it; near: it differs by at most 0.01; off: by more"
)


def compare_with_published(
    results: Results,
    references: Mapping[str, Sequence[str]],
    published: Mapping[str, Published],
    sets: Mapping[str, Sequence[str]],
    tolerance: float,
) -> list[ReferenceScore]:
    """Return every score of ``results`` that has a published one beside it.

    Args:
        results: with its averages defined.
        references: pipeline -> names of published scores.
        published: all published scores by name.
        sets: macro sets of the experiment and their collections; one is compared when all of it was run.
        tolerance: the experiment's.
    """
    return [
        ReferenceScore(
            collection=place,
            kind=kind,
            pipeline=pipeline,
            metric=metric,
            reference=name,
            published=table[metric],
            value=value,
            status=compared.status,
            reason=compared.reason,
            title=published[name].title,
            source=f"{published[name].source.citation} ({published[name].source.version}, {published[name].source.date})",
            url=published[name].source.url,
        )
        for pipeline, names in references.items()
        for name in names
        for kind, place, table, values in _places(results, published[name], sets)
        for (whose, metric), value in values.items()
        if whose == pipeline and metric in table
        for compared in (
            published[name].compare(value, table[metric], None if kind == "average" else place, tolerance),
        )
    ]


def _places(
    results: Results, published: Published, sets: Mapping[str, Sequence[str]]
) -> Iterator[
    tuple[Literal["collection", "set", "average"], str, Mapping[str, float], Mapping[tuple[str, str], float]]
]:
    """Yield what both sides have: (kind, name, published values, our values)."""
    present = [info.name for info in results.collections]
    for name in present:
        if name in published.scores:
            yield "collection", name, published.scores[name], values_of(results, name)
    for name, members in sets.items():
        whole = {*members, *(each for each in published.scores if each.startswith(f"{name}/"))}
        if name in published.scores and whole.issubset(present):
            mean = mean_of([values_of(results, member) for member in members])
            yield "set", name, published.scores[name], mean
    for average in named_averages(results):
        if average.name in published.averages and len(average.members) == average.of:
            yield "average", average.name, published.averages[average.name], average.values


def said(score: ReferenceScore) -> str:
    """Return the verdict in words, with the reason of a match that is not to the last digit: ``match, but for ties``."""
    return score.status if score.reason is None else f"{score.status}, {score.reason}"


def tally(scores: Sequence[ReferenceScore]) -> str:
    """Return how many there are of each: ``12 match, 1 near, 0 off``."""
    counts = Counter(score.status for score in scores)
    return ", ".join(f"{counts[status]} {status}" for status in MARKS)


def reference_markdown(results: Results) -> list[str]:
    """Return the section of ``scores.md``, as blocks; none where nothing was compared."""
    if not results.reference:
        return []
    lines = [
        "| pipeline | collection | metric | published | found | difference | |",
        "|:--|:--|:--|--:|--:|--:|:--|",
    ]
    sources = {}
    for each in results.reference:
        sources[each.reference] = f"{each.reference}: {each.title}. {each.source}, {each.url}"
        cells = [
            _cell(each.pipeline),
            _cell(each.collection),
            _cell(each.metric),
            fmt.metric(each.published),
            fmt.metric(each.value),
            fmt.delta(each.value - each.published),
            f"{MARKS[each.status]} {_cell(said(each))} ({_cell(each.reference)})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    listed = "\n".join(f"- {_cell(text)}" for text in sources.values())
    return [
        "## Published scores",
        "\n".join(lines),
        f"{tally(results.reference)}. {MEANING}.",
        listed,
    ]


def _cell(text: str) -> str:
    return "".join("\\" + char if char in "\\`*_{}[]<>#|~$!&" else char for char in fmt.plain(text))
