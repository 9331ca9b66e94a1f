"""The curve as one SVG file: no script, nothing loaded, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from irkit.theory.curve import Curve, Point
from irkit.theory.polynomial import Cubic
from irkit.theory.style import BASE

_W, _H = 760, 512
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 108, 56

_STYLE = (
    BASE
    + """\
.paper { stroke: light-dark(#9a4327, #e39b7c); fill: none; stroke-width: 1.5; stroke-dasharray: 6 4; }
.own { stroke: light-dark(#7194b8, #587a9c); fill: none; stroke-width: 1.5; }
.point { fill: light-dark(#1b4d7a, #8fbbe6); }
.open { fill: light-dark(#fdfcf9, #17181a); stroke: light-dark(#1b4d7a, #8fbbe6); stroke-width: 1.5; }
"""
)


def svg(curve: Curve) -> str:
    """Draw the critical n over the dimension: our points, a cubic through them, and the paper's."""
    dims = [point.dim for point in curve.points]
    lines = [
        (cubic, kind, name)
        for cubic, kind, name in (
            (curve.paper, "paper", "the paper\u2019s cubic"),
            (curve.own, "own", "cubic through the points"),
        )
        if cubic is not None
    ]
    first, last = min(dims), max(*dims, min(dims) + 1)
    tops = [point.critical or 0 for point in curve.points] + [cubic(last) for cubic, _, _ in lines]
    plot = _Plot(first, last, max(*tops, 2.0))
    settings = curve.settings
    title = "The most documents that free embeddings can tell apart"
    what = f"pattern {settings.pattern}, k = {settings.k}: critical n of each dimension; {settings.starts} starts, {curve.device}"
    exists = f"vectors for any n exist from d = {2 * settings.k} on (arXiv 2601.20844); this is what optimisation finds"
    found = "; ".join(f"d = {p.dim}: {p.says()}" for p in curve.points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_W} {_H}" width="{_W}" height="{_H}" role="img" '
        'aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(f"{what}. {found}.")}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="28">{escape(title)}</text>',
        f'<text class="muted" x="{_LEFT}" y="48">{escape(what)}</text>',
        f'<text class="muted" x="{_LEFT}" y="67">{escape(exists)}</text>',
        *plot.frame(),
    ]
    for cubic, kind, _ in lines:
        parts.append(f'<path class="{kind}" d="{plot.path(cubic)}"/>')
    for point in curve.points:
        if point.critical is not None:
            parts.append(plot.mark(point, point.critical))
    parts += _legend(lines, any(point.open for point in curve.points))
    return "\n".join([*parts, "</svg>\n"])


def _legend(lines: Sequence[tuple[Cubic, str, str]], opened: bool) -> list[str]:
    x, y, parts = _LEFT + 18, _TOP + 18, list[str]()
    rows = [f'<circle class="point" cx="{x + 14}" cy="{{y}}" r="4"/>'], ["found here"]
    marks, names = rows
    if opened:
        marks.append(f'<circle class="open" cx="{x + 14}" cy="{{y}}" r="4"/>')
        names.append("found here, and more may be: see curve.md")
    for _, kind, name in lines:
        marks.append(f'<path class="{kind}" d="M{x} {{y}}h28"/>')
        names.append(name)
    for mark, name in zip(marks, names, strict=True):
        parts.append(mark.format(y=y))
        parts.append(f'<text class="key" x="{x + 38}" y="{y + 5}">{escape(name)}</text>')
        y += 22
    return parts


class _Plot:
    """The axes: dimensions from left to right, documents upwards from nought."""

    def __init__(self, first: int, last: int, top: float) -> None:
        self.first, self.last = first, last
        self.step = _round_step(top)
        self.top = ceil(top / self.step) * self.step

    def x(self, dim: float) -> float:
        inset = 14
        width = _W - _LEFT - _RIGHT - 2 * inset
        return _LEFT + inset + (dim - self.first) / (self.last - self.first) * width

    def y(self, n: float) -> float:
        return _H - _BOTTOM - n / self.top * (_H - _TOP - _BOTTOM)

    def frame(self) -> list[str]:
        """Draw rules, axis and labels."""
        parts = list[str]()
        for i in range(round(self.top / self.step) + 1):
            n = i * self.step
            kind = "rule" if i else "axis"
            parts.append(f'<path class="{kind}" d="M{_LEFT} {self.y(n):.1f}H{_W - _RIGHT}"/>')
            parts.append(f'<text class="muted end" x="{_LEFT - 8}" y="{self.y(n) + 5:.1f}">{n:,}</text>')
        every = ceil((self.last - self.first + 1) / 20)
        for dim in range(self.first, self.last + 1, every):
            parts.append(
                f'<text class="muted middle" x="{self.x(dim):.1f}" y="{_H - _BOTTOM + 20}">{dim}</text>'
            )
        parts.append(
            f'<text class="middle" x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 12}">dimension d of the vectors</text>'
        )
        parts.append(f'<text class="muted" x="{_LEFT}" y="{_TOP - 10}">documents n</text>')
        return parts

    def path(self, cubic: Cubic) -> str:
        """Trace a curve where it is above nought."""
        dims = [self.first + i * (self.last - self.first) / 120 for i in range(121)]
        at = [(self.x(dim), self.y(value)) for dim in dims if (value := cubic(dim)) >= 0]
        moves = [f"M{x:.1f} {y:.1f}" for x, y in at[:1]]
        return "".join(moves + [f"L{x:.1f} {y:.1f}" for _, (x, y) in pairwise(at)])

    def mark(self, point: Point, n: int) -> str:
        """Draw one critical n; its tooltip says it in words."""
        said = escape(f"d = {point.dim}: {point.says()}")
        kind = "open" if point.open else "point"
        x, y = self.x(point.dim), self.y(n)
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{said}</title></circle>'


def _round_step(top: float) -> int:
    """Return a distance of rules of the kind 1, 2 or 5 times a power of ten, for about six of them."""
    rough = max(top / 6, 1.0)
    power: int = 10 ** floor(log10(rough))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
