"""Functions compiled by numba and kept on disk, until any source they were compiled from changes.

With ``cache=True`` numba looks at the file of the compiled function alone. A function that calls or inlines one of another file
would then be loaded as it was before that file changed, and give the old numbers without a word. Here the names of the kept
files hold a hash of every source that the function's module imports from its own package, so there is nothing stale to find,
wherever the files are kept. Import this in modules of compiled functions only: it loads numba.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """Compile a function when it is first called, and keep it on disk where numba keeps what it compiles.

    It runs without the GIL, does not check bounds, and divides as numpy does.

    Args:
        options: others of ``numba.njit``, such as ``fastmath``; or other values for these.
    """
    settings: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy", **options}

    def compile_later(function: F) -> F:
        made: Any = njit(**settings)(function)
        if hasattr(made, "py_func"):  # else numba is told to compile nothing, by NUMBA_DISABLE_JIT
            made._cache = _Cache(made.py_func)  # as Dispatcher.enable_caching does, with another cache
        return made  # type: ignore[no-any-return]

    return compile_later


@cache
def sources_key(name: str) -> str:
    """Return a hash of the sources of a loaded module and of all modules that it imports from its package, directly or not.

    What a function imports when it runs counts too, where it is loaded already; compiled code cannot import.
    """
    package = name.partition(".")[0]
    found: dict[str, str] = {}
    todo = [name]
    while todo:
        each = todo.pop()
        if each.partition(".")[0] == package and each in sys.modules and each not in found:
            found[each] = _source(each)
            todo += _imports(found[each])
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]


@cache
def _source(name: str) -> str:
    """Return the source of a loaded module; once read it stays, as the module itself does, when the file changes later."""
    source: str | None = sys.modules[name].__loader__.get_source(name)  # type: ignore[union-attr]
    return source or ""


def _imports(source: str) -> Iterator[str]:
    """Yield the names of what may be modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _Files(CompileResultCacheImpl):  # type: ignore[misc]
    """Names the files."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._key = sources_key(function.__module__)
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        """Return what the names of a function's files begin with."""
        return f"{super().get_filename_base(fullname, abiflags)}-{self._key}"


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Files
