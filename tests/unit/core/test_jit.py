"""Tests of compiled functions on disk: found again while nothing changed, never after a source they were made from did."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import irkit

LOW = "FACTOR = {factor}\n"
HELPER = """
from irkit.core.jit import compiled
from pack.low import FACTOR

@compiled(forceinline=True)
def scaled(x):
    return FACTOR * x{more}
"""
KERNEL = """
from irkit.core.jit import compiled
from pack import helper

_scaled = helper.scaled

@compiled()
def kernel(x):
    return _scaled(x) + 1.0
"""
RUN = "from pack.kernels import kernel; print(kernel(1.0), sum(kernel.stats.cache_hits.values()))"


@pytest.mark.parametrize("own_folder", [False, True])
def test_a_change_of_an_imported_source_is_seen(tmp_path: Path, own_folder: bool) -> None:
    package, kept = tmp_path / "pack", tmp_path / "kept"
    package.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(irkit.__file__).parents[1])]),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python's own cache does not see changes within a second
        "NUMBA_CACHE_DIR": str(kept) if own_folder else "",
    }

    def result(factor: float = 2.0, more: str = "") -> list[float]:
        (package / "low.py").write_text(LOW.format(factor=factor))
        (package / "helper.py").write_text(HELPER.format(more=more))
        (package / "kernels.py").write_text(KERNEL)
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return [float(part) for part in done.stdout.split()]

    assert result() == [3.0, 0]
    assert result() == [3.0, 1]  # found again
    assert result(more=" * 10.0") == [21.0, 0]
    assert result(factor=4.0) == [5.0, 0]
    assert result() == [3.0, 1]
    assert any((kept if own_folder else package).rglob("kernels.kernel-*.nbi"))


def test_no_other_compiled_code_is_kept_that_is_made_of_several_files() -> None:
    """With numba's own ``cache=True``, a change of the other file would not be noticed."""
    root = Path(irkit.__file__).parent
    kept = []
    for path in root.rglob("*.py"):
        source = path.read_text()
        if "import numba" not in source and "from numba" not in source:
            continue
        nodes = list(ast.walk(ast.parse(source)))
        keywords = {node.arg for node in nodes if isinstance(node, ast.keyword)}
        strings = {node.value for node in nodes if isinstance(node, ast.Constant)}
        imports = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        if "cache" in keywords | strings and any(name.startswith("irkit") for name in imports):
            kept.append(path.relative_to(root).as_posix())
    assert kept == []
