"""YAML as plain data that remembers where each piece stood: safe loading, YAML 1.2, duplicate keys refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from irkit.core.errors import ConfigError, Place, Problem

_MAX_NODES = 100_000  # an experiment has hundreds; aliases inside aliases can mean billions
_MAX_DEPTH = 100  # an alias can contain itself
_FOLDED = re.compile(
    "[\x80-\x9f\u2028\u2029\ufeff]"
)  # ruamel writes them bare and reads them as line ends or not at all
_TIMESTAMP = "tag:yaml.org,2002:timestamp"  # YAML 1.1's; in YAML 1.2 a date is text
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{tag}" for tag in ("null", "bool", "int", "float", "str", "map", "seq")}


@dataclass
class Located:
    """Plain data and the line of every key and item: ``where(path)`` is ``file:line``, for error texts."""

    data: Any
    source: str
    lines: dict[Place, int] = field(default_factory=dict)
    overrides: dict[Place, str] = field(default_factory=dict)

    def where(self, path: Place) -> str:
        """Return ``file:line`` of the nearest enclosing piece that has a line, or the override that set it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.overrides:
                return self.overrides[path[:length]]
            if path[:length] in self.lines:
                return f"{self.source}:{self.lines[path[:length]]}"
        return self.source

    def problem(self, path: Place, message: str, hint: str | None = None) -> Problem:
        """Return a problem at a place in the file."""
        return Problem(message, self.where(path), hint)


def parse_yaml(text: str, source: str) -> Located:
    """Parse one YAML document.

    Args:
        text: the document.
        source: the file's name, for error texts.

    Raises:
        ConfigError: for a syntax error, a duplicate or non-string key, a tag that asks for more than plain data, or aliases that
            expand beyond reason; with ``file:line``.
    """
    loader = YAML(typ="safe", pure=True)
    try:
        root = loader.compose(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        hint = "check indentation, quotes and brackets on this line and the one above"
        raise ConfigError.of(f"not valid YAML: {message}", where=where, hint=hint) from error
    except ReaderError as error:
        where = f"{source}:{text.count(chr(10), 0, error.position) + 1}"
        message = f"not valid YAML: the character {chr(error.character)!r} is not allowed"
        raise ConfigError.of(
            message, where=where, hint="remove it, or write it as an escape in double quotes"
        ) from error
    except YAMLError as error:
        raise ConfigError.of(f"not valid YAML: {error}", where=source) from error
    except RecursionError as error:
        raise ConfigError.of(
            "nested too deeply", where=source, hint="close the brackets that were opened"
        ) from error
    located = Located(None, source)
    if root is not None:
        located.data = _Reader(loader, located).read(root, ())
    return located


class _Reader:
    def __init__(self, loader: YAML, located: Located) -> None:
        self.loader, self.located, self.count = loader, located, 0

    def read(self, node: Node, path: Place) -> Any:
        self.count += 1
        self.located.lines.setdefault(path, node.start_mark.line + 1)
        if self.count > _MAX_NODES:
            raise self.error(
                node, f"more than {_MAX_NODES} values once its aliases are expanded", "write the values out"
            )
        if len(path) > _MAX_DEPTH:
            raise self.error(
                node,
                f"nested more than {_MAX_DEPTH} deep",
                "does an alias (*name) stand inside its own anchor?",
            )
        if str(node.tag) == _TIMESTAMP:
            return str(node.value)
        if str(node.tag) not in _PLAIN_TAGS:
            raise self.error(
                node,
                f"the tag {node.tag} is not allowed",
                "write plain values: text, numbers, lists, mappings",
            )
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalar(node) if isinstance(node, ScalarNode) else None

    def mapping(self, node: MappingNode, path: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag) == _MERGE:
                raise self.error(key_node, "merge keys (<<) are not part of YAML 1.2", "write the values out")
            key = self.scalar(key_node) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str | int | float) or isinstance(key, bool):
                shown = repr(key_node.value) if isinstance(key_node, ScalarNode) else "of brackets"
                raise self.error(key_node, f"the key {shown:.60} is not text", "put the key in quotes")
            key = str(key_node.value)
            if key in result:
                first = self.located.lines[(*path, key)]
                raise self.error(
                    key_node, f"the key {key!r} stands here a second time, after line {first}", "remove one"
                )
            self.located.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.read(value_node, (*path, key))
        return result

    def scalar(self, node: ScalarNode) -> Any:
        try:
            value = self.loader.constructor.construct_object(node)
        except (ValueError, YAMLError) as error:
            message = f"cannot read the value {node.value!r:.60}: {error}"
            raise self.error(node, message, "put text in quotes") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(
                node, f"{node.value} is not a number that can be used here", "write a finite number"
            )
        return value

    def error(self, node: Node, message: str, hint: str | None = None) -> ConfigError:
        return ConfigError.of(message, where=f"{self.located.source}:{node.start_mark.line + 1}", hint=hint)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as readable YAML, keys in their order."""
    text = _dump(data, unicode=True)
    return _dump(data, unicode=False) if _FOLDED.search(text) else text


def _dump(data: Mapping[str, Any], *, unicode: bool) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.allow_unicode = unicode
    writer.width = 120
    out = StringIO()
    writer.dump(data, out)
    return out.getvalue()
