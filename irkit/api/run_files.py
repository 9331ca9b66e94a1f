"""Which run files are meant: their names, and the collections of paths with ``{}`` in them."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from irkit.core.errors import ConfigError, DataError, nearest

ANY = "{}"
"""In paths, stands for the name of a collection."""

_ENDINGS = re.compile(r"(\.(gz|trec|run|res|results|qrels|txt|tsv))+$", re.IGNORECASE)


@dataclass(frozen=True)
class RunFiles:
    """What one collection is evaluated from: run files by name, those that are not there, and judgements."""

    name: str
    runs: Mapping[str, Path]
    absent: Mapping[str, Path]
    qrels: Path
    queries: Path | None
    exclude: Path | None


def name_runs(runs: Sequence[str | Path] | Mapping[str, str | Path]) -> dict[str, str]:
    """Return the paths of the runs by name: ``NAME=PATH``, else the file's name, with its folder where two are the same.

    Raises:
        ConfigError: for no run, and two of one name.
    """
    if not runs:
        raise ConfigError.of("there is no run to evaluate", hint="give TREC run files")
    if isinstance(runs, Mapping):
        return {name: str(path) for name, path in runs.items()}
    pairs = [_split(str(run)) for run in runs]
    short = [name or _stem(path) for name, path in pairs]
    named: dict[str, str] = {}
    for (given, path), stem in zip(pairs, short, strict=True):
        name = stem
        if given is None and short.count(stem) > 1:
            name = "/".join(filter(None, [_clean(Path(path).parent.name), stem]))
        if name in named:
            hint = "name them: NAME=PATH"
            raise ConfigError.of(f"two runs are called {name!r}: {named[name]} and {path}", hint=hint)
        named[name] = path
    return named


def _split(text: str) -> tuple[str | None, str]:
    name, equals, path = text.partition("=")
    is_named = equals and name and "/" not in name and not Path(text).exists()
    return (name, path) if is_named else (None, text)


def _stem(path: str) -> str:
    name = Path(path).name
    return _clean(_ENDINGS.sub("", name)) or name


def _clean(name: str) -> str:
    """Return a name without the place of the collection's."""
    return re.sub(r"[-_.]?\{\}", "", name).strip("-_.")


def choose_baseline(name: str | None, runs: list[str]) -> str | None:
    """Return the run that the others are compared with: the first of several unless named.

    Raises:
        ConfigError: for a name that no run has.
    """
    if name is None:
        return runs[0] if len(runs) > 1 else None
    if name not in runs:
        raise ConfigError.of(f"no run is called {name!r}", where="baseline", hint=nearest(name, runs))
    return name


def find_collections(
    runs: Mapping[str, str], qrels: str | Path, queries: str | Path | None, exclude: str | Path | None
) -> list[RunFiles]:
    """Return the files of each collection: of one, or of all for which judgements exist where paths have ``{}``.

    Raises:
        ConfigError: when some paths have ``{}`` and others have not; only those of ``queries`` and ``exclude`` may lack it.
        DataError: when no judgements are there, or no run file for any of them.
    """
    pattern = str(qrels)
    several = ANY in pattern
    for path in (*runs.values(), *(str(path) for path in (queries, exclude) if path is not None)):
        if (ANY in path) != several and (path in runs.values() or not several):
            hint = f"{ANY} stands for the name of the collection, in the paths of judgements and runs alike"
            raise ConfigError.of(f"one path has {ANY} and another has not", where=path, hint=hint)
    found = _matches(pattern) if several else {_collection_name(Path(pattern)): pattern}
    result = []
    for name, judgements in found.items():
        files = {run: Path(path.replace(ANY, name)) for run, path in runs.items()}
        here = {run: path for run, path in files.items() if not several or path.exists()}
        if here:
            absent = {run: path for run, path in files.items() if run not in here}
            queried, excluded = (
                None if path is None else Path(str(path).replace(ANY, name)) for path in (queries, exclude)
            )
            result.append(RunFiles(name, here, absent, Path(judgements), queried, excluded))
    if not result:
        hint = f"{ANY} stands for the name of the collection: {', '.join(found)}"
        raise DataError.of("no run has a file for any collection", where=next(iter(runs.values())), hint=hint)
    return result


def _matches(pattern: str) -> dict[str, str]:
    """Return the files of a pattern by what ``{}`` stands for in them, in the order of the names."""
    first, *rest = [re.escape(part) for part in pattern.split(ANY)]
    form = re.compile(first + "([^/]+)" + r"\1".join(rest))
    # pathlib takes no absolute pattern
    paths = glob.glob("*".join(glob.escape(part) for part in pattern.split(ANY)))  # noqa: PTH207
    found = {match[1]: path for path in sorted(paths) if (match := form.fullmatch(path))}
    if not found:
        hint = f"{ANY} stands for the name of a collection; relative paths start at the current folder"
        raise DataError.of("there is no such file of judgements", where=pattern, hint=hint)
    return found


def _collection_name(qrels: Path) -> str:
    """Return what a file of judgements is called: in a BEIR folder ``folder/split``."""
    stem = _ENDINGS.sub("", qrels.name) or qrels.name
    path = qrels.absolute()
    return f"{path.parent.parent.name}/{stem}" if path.parent.name == "qrels" else stem
