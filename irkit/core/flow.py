"""Plain values as YAML writes them on one line, for labels, tables and error texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[^\W\d](?:[\w ./+@%-]*[\w./+@%-])?|/[\w./+@%-]*")
_NO_TEXT = {"null", "true", "false"}


def flow(value: Any) -> str:
    """Return a value in YAML's flow style: ``{dim: 128, words: true}``, ``null``; text in quotes where YAML needs them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(each) for each in value) + "]"
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _NO_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False, default=repr)
