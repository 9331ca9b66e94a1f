"""A document's text in the terminal: harmless, and shaded by how much a reranker looked at each piece."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from irkit.core.explanation import Explanation

if TYPE_CHECKING:
    from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")
_FAINT = 0.05
"""Of the greatest weight: what is below is not shaded."""
_MOST = 6
"""Words that are named below the text."""


def inert(text: str) -> str:
    """Return a document's text on one line, without the control characters that a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def highlighted(explanation: Explanation) -> Text:
    """Return the text that the reranker read, on one line: yellow behind what speaks for the document, red behind what speaks
    against it, the stronger the more."""
    from rich.text import Text

    greatest = max(map(abs, explanation.weights), default=0.0) or 1.0
    line, spaced = Text(), True
    for piece, weight in zip(explanation.pieces, explanation.weights, strict=True):
        text = _SPACE.sub(" ", piece)
        if spaced:
            text = text.lstrip(" ")
        if not text:
            continue
        spaced = text.endswith(" ")
        bare = text.lstrip(" ")
        line.append(" " * (len(text) - len(bare)))  # a space of its own is never shaded
        line.append(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", bare), _style(weight / greatest))
    line.rstrip()
    return line


def legend(explanation: Explanation) -> Text:
    """Return the words that count most, with their weights: what a terminal without colours has to go by."""
    from rich.text import Text

    named = ", ".join(f"{inert(word)} {weight:.4f}" for word, weight in explanation.strongest(_MOST))
    return Text(f"looked at: {named or 'nothing'}; {explanation.score:.4f} in all", "dim")


def _style(share: float) -> str:
    strength = abs(share)
    if strength < _FAINT:
        return ""
    pale = round(225 * (1 - strength))
    colour = f"rgb(255,{200 + pale // 5},{pale})" if share > 0 else f"rgb(255,{pale},{pale})"
    return f"{'bold ' if strength >= 0.5 else ''}black on {colour}"
