"""``irkit search``: queries typed at a prompt, hits with their text."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from irkit.api.workspace import Workspace
from irkit.cli import console
from irkit.cli.changed import changed_query
from irkit.cli.highlight import greatest_weight, highlighted, legend, one_line
from irkit.config.experiment import Experiment
from irkit.core.errors import ConfigError, nearest
from irkit.core.explanation import Explains, Explanation
from irkit.core.queries import Queries
from irkit.core.rankings import CodeArray, ScoreArray
from irkit.data.collection import Collection
from irkit.exec.changes import query_nodes


def search(
    path: Path,
    query: str,
    pipeline: str | None,
    collection: str | None,
    hits: int,
    explain: bool,
    settings: Sequence[str],
    workspace: Workspace,
    bars: console.ProgressBars,
) -> None:
    """Answer one query, or one after the other until the input ends."""
    experiment = workspace.load(path, settings)
    name = pipeline or [each for each in experiment.pipelines if each not in experiment.controls][-1]
    where = collection or next(iter(experiment.collections))
    if name not in experiment.pipelines:
        hint = nearest(name, list(experiment.pipelines))
        raise ConfigError.of(f"there is no pipeline {name!r}", where=str(path), hint=hint)
    if where not in experiment.collections:
        hint = nearest(where, list(experiment.collections))
        raise ConfigError.of(f"there is no collection {where!r}", where=str(path), hint=hint)
    if explain:
        _can_explain(experiment, name)
    opened = workspace.open(experiment.collections[where])
    searcher = workspace.searcher(experiment.pipelines[name], opened)
    bars.close()

    def answer(text: str) -> None:
        asked = Queries.of([text])
        if not explain:
            _show(opened, searcher(asked)[0], hits, {})
            return
        seen = searcher.explained(asked, hits)
        if seen.changes[0]:
            for line in changed_query(text, seen.changes[0]):
                console.out().print(line)
        _show(opened, seen.rankings[0], hits, {each.doc: each for each in seen.documents[0]})

    if query:
        answer(query)
        return
    console.err().print(f"{name} on {where}, {len(opened.docs)} documents. Type a query; an empty line ends.")
    while text := _ask():
        answer(text)


def _can_explain(experiment: Experiment, name: str) -> None:
    ends = {each: pipeline.graph() for each, pipeline in experiment.pipelines.items()}
    able = [each for each, end in ends.items() if isinstance(end.stage, Explains) or query_nodes(end)]
    if name in able:
        return
    last = ends[name].stage.name
    if able:
        hint = f"choose a pipeline that can be explained: {', '.join(f'-p {each!r}' for each in able)}"
    else:
        hint = (
            "end the pipeline with a reranker that reads a language model's attention, such as icr, "
            "or give it a query stage, such as rm3: then it is shown what becomes of the query"
        )
    raise ConfigError.of(
        f"the last stage, {last!r}, cannot explain its scores, and no stage changes the query",
        where=f"pipeline {name!r}",
        hint=hint,
    )


def _ask() -> str:
    try:
        return input("query> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _show(
    collection: Collection,
    found: tuple[CodeArray, ScoreArray],
    hits: int,
    seen: Mapping[int, Explanation],
) -> None:
    from rich.text import Text

    out, greatest = console.out(), greatest_weight(seen.values())
    if not len(found[0]):
        out.print("no hits")
    for rank, (code, score) in enumerate(zip(found[0][:hits], found[1][:hits], strict=True), start=1):
        docs = collection.docs
        docno, title, body = (one_line(part(int(code))) for part in (docs.docno, docs.title, docs.body))
        out.print(Text.assemble(f"{rank:3}  {score:9.4f}  ", (docno, "bold"), f"  {title}" if title else ""))
        if int(code) in seen:
            for line in (highlighted(seen[int(code)], greatest), legend(seen[int(code)])):
                out.print(Text.assemble(" " * 16, line))
            continue
        text = body if len(body) <= 300 else body[:300].rsplit(" ", 1)[0] + " ..."
        out.print(Text(f"                {text}"))
