"""Recall over the number of documents as one SVG file, a panel for each metric; nothing loaded, in light and dark."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from math import ceil, log10

from irkit.report.format import count
from irkit.theory.growth import Growth
from irkit.theory.style import BASE

_PANEL, _HEIGHT, _GAP, _LEFT, _TOP = 250, 260, 36, 52, 96
_ROW, _COLUMNS = 22, 3

# Eight hues of even weight, told apart by the shape of the mark as well; the ninth pipeline begins anew with another shape.
_HUES = (
    ("#1b4d7a", "#8fbbe6"), ("#9a4327", "#e39b7c"), ("#3f6b35", "#9cc98f"), ("#7a4b8c", "#cda6dc"),
    ("#8a6a12", "#dcbd62"), ("#1f7272", "#82cccb"), ("#8c2f54", "#e592b3"), ("#555149", "#b9b4a8"),
)  # fmt: skip
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.7-3.7h7.4v7.4h-7.4z",
    "M0-5L4.8 3.6H-4.8z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0z",
    "M0 5L4.8-3.6H-4.8z",
)


def svg(growth: Growth) -> str:
    """Draw every metric over the number of documents, which has a logarithmic scale."""
    metrics, names = growth.metrics, growth.pipelines
    width = _LEFT + len(metrics) * _PANEL + (len(metrics) - 1) * _GAP + 24
    legend = _TOP + _HEIGHT + 62
    height = legend + ceil(len(names) / _COLUMNS) * _ROW + 6
    title = "Recall as the collection grows"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-labelledby="title desc">',
        f'<title id="title">{title}</title><desc id="desc">{escape(_said(growth))}</desc>',
        f"<style>{BASE}{_hues()}</style>",
        f'<text class="title" x="{_LEFT}" y="28">{title}</text>',
        f'<text class="muted" x="{_LEFT}" y="50">{escape(growth.what)}</text>',
    ]
    for at in range(len(metrics)):
        parts += _panel(growth, at, _LEFT + at * (_PANEL + _GAP))
    step = (width - _LEFT) // _COLUMNS
    for i, name in enumerate(names):
        x, y = _LEFT + i % _COLUMNS * step, legend + i // _COLUMNS * _ROW
        parts.append(f'<path class="line s{i % len(_HUES)}" d="M{x} {y}h28"/>{_mark(i, x + 14, y, name)}')
        parts.append(f'<text x="{x + 38}" y="{y + 5}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(growth: Growth, at: int, left: int) -> list[str]:
    sizes, bottom = growth.sizes, _TOP + _HEIGHT
    first, last = log10(sizes[0]), log10(sizes[-1])

    def x(documents: int) -> float:
        return left + 12 + (log10(documents) - first) / (last - first) * (_PANEL - 24)

    def y(value: float) -> float:
        return bottom - value * _HEIGHT

    parts = [f'<text x="{left}" y="{_TOP - 14}">{escape(growth.metrics[at])}</text>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="{"rule" if tick else "axis"}" d="M{left} {y(tick):.1f}h{_PANEL}"/>')
        if at == 0:
            parts.append(f'<text class="muted end" x="{left - 8}" y="{y(tick) + 5:.1f}">{tick:g}</text>')
    beside = -100.0
    for documents in sizes:
        parts.append(f'<path class="axis" d="M{x(documents):.1f} {bottom}v5"/>')
        if x(documents) - beside >= 44:  # a size too near its neighbour keeps its tick and loses its number
            beside = x(documents)
            parts.append(
                f'<text class="muted middle" x="{beside:.1f}" y="{bottom + 21}">{_short(documents)}</text>'
            )
    parts.append(f'<text class="middle" x="{left + _PANEL / 2:.1f}" y="{bottom + 40}">documents</text>')
    for i, pipeline in enumerate(growth.pipelines):
        found = [(n, row.scores[at]) for n in sizes if (row := growth.at(pipeline, n))]
        points = [(n, value) for n, value in found if value is not None]
        for (n, value), (m, after) in pairwise(points):
            line = f"M{x(n):.1f} {y(value):.1f}L{x(m):.1f} {y(after):.1f}"
            parts.append(f'<path class="line s{i % len(_HUES)}" d="{line}"/>')
        for n, value in points:
            parts.append(
                _mark(
                    i,
                    x(n),
                    y(value),
                    f"{pipeline}, {growth.metrics[at]} of {count(n)} documents: {value:.4f}",
                )
            )
    return parts


def _mark(series: int, x: float, y: float, said: str) -> str:
    shape = _SHAPES[series % len(_SHAPES)]
    place = f"translate({x:.1f} {y:.1f})"
    return f'<path class="mark s{series % len(_HUES)}" transform="{place}" d="{shape}"><title>{escape(said)}</title></path>'


def _hues() -> str:
    lines = [".line { fill: none; stroke-width: 1.75; }"]
    for i, (light, dark) in enumerate(_HUES):
        lines.append(f".line.s{i} {{ stroke: light-dark({light}, {dark}); }}")
        lines.append(f".mark.s{i} {{ fill: light-dark({light}, {dark}); }}")
    return "\n".join(lines) + "\n"


def _short(documents: int) -> str:
    return f"{documents // 1000}k" if documents >= 1000 and documents % 1000 == 0 else count(documents)


def _said(growth: Growth) -> str:
    """Say every value, for those who do not see it."""
    said = list[str]()
    for at, name in enumerate(growth.metrics):
        for pipeline in growth.pipelines:
            rows = [(n, row.scores[at]) for n in growth.sizes if (row := growth.at(pipeline, n))]
            values = ", ".join(f"{value:.2f} of {count(n)}" for n, value in rows if value is not None)
            said.append(f"{pipeline}, {name}: {values or 'none'}")
    return f"{growth.what}. {'; '.join(said)}."
