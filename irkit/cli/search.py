"""``irkit search``: queries typed at a prompt, hits with their text."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from irkit.api.workspace import Workspace
from irkit.cli import console
from irkit.core.errors import ConfigError, nearest
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, ScoreArray
from irkit.data.collection import Collection

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def search(
    path: Path,
    query: str,
    pipeline: str | None,
    collection: str | None,
    hits: int,
    settings: Sequence[str],
    workspace: Workspace,
    bars: console.ProgressBars,
) -> None:
    """Answer one query, or one after the other until the input ends."""
    experiment = workspace.load(path, settings)
    name = pipeline or list(experiment.pipelines)[-1]
    where = collection or next(iter(experiment.collections))
    if name not in experiment.pipelines:
        hint = nearest(name, list(experiment.pipelines))
        raise ConfigError.of(f"there is no pipeline {name!r}", where=str(path), hint=hint)
    if where not in experiment.collections:
        hint = nearest(where, list(experiment.collections))
        raise ConfigError.of(f"there is no collection {where!r}", where=str(path), hint=hint)
    opened = workspace.open(experiment.collections[where])
    answer = workspace.searcher(experiment.pipelines[name], opened)
    bars.close()
    if query:
        _show(opened, answer(Queries.of([query]))[0], hits)
        return
    console.err().print(f"{name} on {where}, {len(opened.docs)} documents. Type a query; an empty line ends.")
    while text := _ask():
        _show(opened, answer(Queries.of([text]))[0], hits)


def _ask() -> str:
    try:
        return input("query> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _show(collection: Collection, found: tuple[CodeArray, ScoreArray], hits: int) -> None:
    from rich.text import Text

    out = console.out()
    if not len(found[0]):
        out.print("no hits")
    for rank, (code, score) in enumerate(zip(found[0][:hits], found[1][:hits], strict=True), start=1):
        docs = collection.docs
        docno, title, body = (_inert(part(int(code))) for part in (docs.docno, docs.title, docs.body))
        out.print(Text.assemble(f"{rank:3}  {score:9.4f}  ", (docno, "bold"), f"  {title}" if title else ""))
        text = body if len(body) <= 300 else body[:300].rsplit(" ", 1)[0] + " ..."
        out.print(Text(f"                {text}"))


def _inert(text: str) -> str:
    """Return a document's text on one line, without the control characters that a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
