"""How numbers are written: the same in the terminal, in Markdown and on the page."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
DECIMALS = 4
"""Of a metric, whose scale is 0 to 1: the fourth decimal is the last that published tables use."""


def metric(value: float) -> str:
    """Return a score with four decimals."""
    return f"{value:.{DECIMALS}f}".replace("-", MINUS)


def delta(value: float) -> str:
    """Return a difference with its sign and four decimals; what rounds to zero has no sign."""
    text = f"{abs(value):.{DECIMALS}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def effect(value: float) -> str:
    """Return an effect size with its sign and two decimals; what rounds to zero has no sign."""
    text = f"{abs(value):.2f}"
    return text if float(text) == 0 else ("+" if value > 0 else MINUS) + text


def p_value(value: float) -> str:
    """Return a p-value with four decimals; what they cannot show is ``<0.0001``, and never a zero."""
    return "<0.0001" if value < 0.00005 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Return a time as a person would say it, to three digits: ``4.20 ms``, ``12.3 s``, ``2 min 03 s``."""
    if seconds >= 59.95:
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 60:
            return f"{minutes} min {rest:02d} s"
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours:,} h {minutes:02d} min"
    if seconds >= 0.9995:
        return f"{three(seconds)} s"
    if seconds >= 0.0009995:
        return f"{three(seconds * 1000)} ms"
    return f"{three(seconds * 1e6)} µs" if seconds > 0 else "0 s"


def size(count: int) -> str:
    """Return bytes in decimal units with three digits: ``512 B``, ``1.23 MB``."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, _ = value / 1000, units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{three(value)} {units[0]}"


def count(value: int) -> str:
    """Return a whole number in groups of three digits."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Return the number and its noun: ``1 query``, ``2 queries``, ``3 metrics``."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count(value)} {noun if value == 1 else many}"


def plain(text: str) -> str:
    """Return ``text`` on one line, without control characters that a terminal would obey."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split())
    )


def three(value: float) -> str:
    """Return ``value`` with three significant digits and no exponent; whole numbers keep all theirs."""
    digits = 2 - math.floor(math.log10(value)) if value else 0
    rounded = round(value, digits)
    digits = 2 - math.floor(math.log10(rounded)) if rounded else 0
    return f"{rounded:,.{max(0, min(digits, 6))}f}"
