"""A name with an underscore belongs to its module: nothing else imports it, the benchmarks included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def private_imports(source: str) -> Iterator[str]:
    """Yield the private names that a file imports from irkit, or reaches for in a module of irkit."""
    tree = ast.parse(source)
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "irkit":
            modules |= {each.asname or each.name for each in node.names}
            yield from (each.name for each in node.names if _private(each.name))
            yield from filter(_private, (node.module or "").split("."))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield from filter(_private, [node.attr])


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("folder", ["irkit", "eval"])
def test_no_file_imports_what_is_private_to_another(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {str(path): [*private_imports(path.read_text(encoding="utf-8"))] for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_is_found() -> None:
    source = "from irkit.api.heads import _lists, best\nfrom irkit.core import files\nfiles._write()\nfiles.__doc__\n"
    assert [*private_imports(source)] == ["_lists", "_write"]
    assert [*private_imports("from irkit._x import y")] == ["_x"]
