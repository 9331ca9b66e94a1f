"""A generated task as a collection of its own: a BEIR folder that appears whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irkit.core.errors import DataError
from irkit.core.files import appearing
from irkit.data.collection import Collection
from irkit.data.tasks import TaskOptions, TaskQueries, describe

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_task(
    collection: Collection, options: TaskOptions, made: TaskQueries, folder: Path, split: str
) -> None:
    """Write ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``, and in ``task.json`` and ``README.md`` what they are.

    The documents are the collection's own, so whatever is in the store for them serves the task too.

    Args:
        collection: the one that the queries were made from.
        options: how they were made.
        made: the queries.
        folder: to be made; it must not exist.
        split: the name of the judgements' file.

    Raises:
        DataError: when the folder exists or cannot be written, or the split is no name of a file.
    """
    if not _SPLIT.fullmatch(split):
        raise DataError.of(
            f"{split!r} cannot be the name of a file", where="split", hint="for example: train"
        )
    facts = _facts(collection, options, made, split)
    with _told(folder), appearing(folder) as partial:
        (partial / "qrels").mkdir()
        docs = collection.docs
        with (partial / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for code in docs.source_order().tolist():
                docno, title, body = docs.document(code)
                file.write(_line({"_id": docno, "title": title, "text": body}))
        with (partial / "queries.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for query in made.queries:
                metadata = {"passage": docs.docno(query.doc), "words": query.words}
                file.write(_line({"_id": query.qid, "text": query.text, "metadata": metadata}))
        with (partial / "qrels" / f"{split}.tsv").open("w", encoding="utf-8", newline="\n") as file:
            file.write("query-id\tcorpus-id\tscore\n")
            for query in made.queries:
                for code in (query.doc, *query.copies):
                    file.write(f"{query.qid}\t{docs.docno(code)}\t1\n")
        (partial / "task.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_readme(facts), encoding="utf-8")


def _facts(collection: Collection, options: TaskOptions, made: TaskQueries, split: str) -> dict[str, Any]:
    return {
        **describe(options),
        "from": {"collection": collection.name, "fingerprint": collection.fingerprint},
        "split": split,
        "documents": len(collection.docs),
        "queries": len(made.queries),
        "with_copies": sum(bool(query.copies) for query in made.queries),
        "skipped": made.skipped,
    }


def _readme(facts: dict[str, Any]) -> str:
    what = "the salient terms" if facts["task"] == "keyword" else "a part"
    return f"""# {facts["task"]}: {facts["from"]["collection"]}

{facts["queries"]} queries, each {what} of one passage of {facts["documents"]} documents.
Made by `irkit make-task`; `task.json` says how. The only relevant document of a query is the one that it was made from, and that
document's copies. The licence of the texts is that of the collection that they come from.
"""


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True) + "\n"


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Refuse a folder that exists, and say what the operating system refuses."""
    if folder.exists():
        hint = "choose another folder, or remove this one first"
        raise DataError.of("there is something of this name already", where=str(folder), hint=hint)
    try:
        yield
    except OSError as error:
        message = f"the folder cannot be written: {error.strerror or error}"
        raise DataError.of(
            message, where=str(folder), hint="choose a folder that you may write to"
        ) from error
