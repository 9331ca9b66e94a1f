"""What the query stages did to a query, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from irkit.cli.highlight import one_line
from irkit.core.text import well_formed
from irkit.exec.changes import Step, marked

if TYPE_CHECKING:
    from rich.text import Text

_INDENT = " " * 4
_TERMS = 20
"""Of an expanded query; the strongest come first."""
_LONG = 2000
"""Characters of a text."""


def changed_query(text: str, steps: Sequence[Step]) -> Iterator[Text]:
    """Yield the lines that tell how a query came to be what the last stage was asked.

    Args:
        text: the query as it was typed.
        steps: what each query stage did to it.
    """
    from rich.text import Text

    yield Text.assemble("query: ", (_short(text), "bold"))
    for step in steps:
        yield Text(one_line(step.stage), "italic")
        for line in _lines(step):
            yield Text.assemble(_INDENT, line)


def _lines(step: Step) -> Iterator[Text]:
    from rich.text import Text

    if step.text != step.before:
        words = marked(_short(step.before), _short(step.text))
        yield Text.assemble("now: ", *((each, "bold" if new else "") for each, new in words))
    if step.terms:
        yield _weights(step)
    for form in step.forms:
        yield Text(f"given: {'a vector' if form == 'vector' else 'further token vectors'}", "dim")
    for line in step.told:
        yield Text(_short(line), "dim")
    if not step.changed and not step.told:
        yield Text("the query as it was", "dim")


def _weights(step: Step) -> Text:
    from rich.text import Text

    line = Text("terms: ")
    for place, term in enumerate(step.terms[:_TERMS]):
        mark = "*" if term.original else ""
        line.append(", " if place else "")
        line.append(f"{_short(term.text)}{mark}", "bold" if term.original else "")
        line.append(f" {term.weight:.4g}")
    if len(step.terms) > _TERMS:
        line.append(f" and {len(step.terms) - _TERMS} more")
    if any(term.original for term in step.terms[:_TERMS]):
        line.append(" (*: of the query as it was typed)", "dim")
    return line


def _short(text: str) -> str:
    """Return a text on one line, harmless, and no longer than a person reads."""
    plain = one_line(well_formed(text))
    return plain if len(plain) <= _LONG else f"{plain[:_LONG]} ... ({len(plain) - _LONG} characters more)"
