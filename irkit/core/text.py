"""Text that others wrote, made fit to be read and to be shown."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def inert(text: str) -> str:
    """Replace the control characters, which a terminal obeys and a page must not hold, by U+FFFD; tabs and line ends stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def well_formed(text: str) -> str:
    r"""Return a text that has UTF-8 bytes: surrogates that make up a pair become its character, each other one U+FFFD.

    A text may hold surrogates where bytes that are not UTF-8 came in by the command line, or where JSON has an escape such as
    ``\ud83d``. Tokenisers, JSON and Java take none. Any other text is returned as it is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
