"""What the charts of this package look like, in light and dark."""

from __future__ import annotations

BASE = """\
svg { color-scheme: light dark; background: light-dark(#fdfcf9, #17181a);
  font: 14px "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, "Noto Serif", serif; }
text { fill: light-dark(#1c1b19, #e9e6df); font-variant-numeric: lining-nums tabular-nums; }
.title { font-size: 19px; } .muted { fill: light-dark(#605c55, #aba79d); }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.key { paint-order: stroke; stroke: light-dark(#fdfcf9, #17181a); stroke-width: 5px; }
.rule { stroke: light-dark(#d9d4c8, #3b3c40); fill: none; }
.axis { stroke: light-dark(#1c1b19, #e9e6df); fill: none; }
"""
