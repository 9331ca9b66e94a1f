"""A document's text in the terminal: harmless, and shaded by how much a reranker looked at each piece."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from irkit.core.explanation import Explanation
from irkit.core.text import inert

if TYPE_CHECKING:
    from rich.text import Text

_SPACE = re.compile(r"\s+")
_FAINT = 0.05
"""Of the query's greatest weight: what is below is not shaded."""
_MOST = 6
"""Words that are named below the text."""


def one_line(text: str) -> str:
    """Return a document's text on one line, without the control characters that a terminal would obey."""
    return inert(" ".join(text.split()))


def greatest_weight(explanations: Iterable[Explanation]) -> float:
    """Return the greatest weight, whatever its sign, of all documents of a query: they are shaded in one scale."""
    return max((abs(weight) for each in explanations for weight in each.weights), default=0.0)


def highlighted(explanation: Explanation, greatest: float) -> Text:
    """Return the text that the reranker read, on one line: yellow behind what speaks for the document, red behind what speaks
    against it, the stronger the more.

    Args:
        explanation: of one document.
        greatest: the query's :func:`greatest_weight`, which has the strongest colour.
    """
    from rich.text import Text

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
        line.append(inert(bare), _style(weight / (greatest or 1.0)))
    line.rstrip()
    return line


def legend(explanation: Explanation) -> Text:
    """Return the words that count most, with their weights: what a terminal without colours has to go by; and the rank before."""
    from rich.text import Text

    named = ", ".join(f"{one_line(word)} {weight:.4f}" for word, weight in explanation.strongest(_MOST))
    before = "" if explanation.before is None else f"; rank {explanation.before} before"
    return Text(f"looked at: {named or 'nothing'}; {explanation.score:.4f} in all{before}", "dim")


def _style(share: float) -> str:
    strength = abs(share)
    if strength < _FAINT:
        return ""
    pale = round(225 * (1 - strength))
    colour = f"rgb(255,{200 + pale // 5},{pale})" if share > 0 else f"rgb(255,{pale},{pale})"
    return f"{'bold ' if strength >= 0.5 else ''}black on {colour}"
