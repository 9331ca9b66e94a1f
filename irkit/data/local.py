"""Collections from local files: BEIR folders, and documents, queries and judgements file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from irkit.core.errors import DataError, nearest
from irkit.data import formats
from irkit.data.collection import EvalPolicy
from irkit.data.docstore import Document
from irkit.data.source import Judgement, Source, Table, Topic
from irkit.data.spec import LocalSpec
from irkit.store.digests import DigestCache

PREFIX = "local:"
_PACKED = ("", ".gz")


class LocalSource(Source):
    """Files, identified by the SHA-256 of their bytes: a copy of a collection elsewhere is the same collection."""

    def __init__(self, spec: LocalSpec, base: Path, digests: DigestCache) -> None:
        self.policy: EvalPolicy = spec.policy
        self._digests = digests
        if spec.path is not None:
            folder = _folder(base / Path(spec.path).expanduser())
            self._docs = beir_file(folder, "corpus.jsonl")
            self._topics = beir_file(folder, "queries.jsonl")
            self._qrels = _split(folder, spec.split)
            self.judged_only = len(_splits(folder)) > 1
            self.name = spec.name or f"{folder.resolve().name}/{spec.split}"
        else:
            self._docs, self._topics, self._qrels = (
                _file(base / Path(str(part)).expanduser()) for part in (spec.docs, spec.queries, spec.qrels)
            )
            self.name = spec.name or self._qrels.name.split(".")[0]

    def docs_identity(self) -> dict[str, Any]:
        """Return the digest of the file of documents."""
        return {"source": "file", "sha256": self._sha256(self._docs)}

    def topics_identity(self) -> dict[str, Any]:
        """Return the digests of all three files."""
        return {
            "docs": self.docs_identity(),
            "queries": self._sha256(self._topics),
            "qrels": self._sha256(self._qrels),
            "judged_only": self.judged_only,
        }

    def _sha256(self, path: Path) -> str:
        try:
            return self._digests.sha256(path)
        except OSError as error:
            message = f"the file cannot be read: {error.strerror}"
            raise DataError.of(message, where=str(path), hint="check its permissions") from error

    def docs(self, scratch: Path) -> Table[Document]:
        """Return the documents."""
        return formats.documents(self._docs)

    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the queries: in a folder of several splits, all of them."""
        return formats.topics(self._topics)

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the judgements."""
        return formats.judgements(self._qrels)


def local_spec(text: str) -> LocalSpec:
    """Read the form ``local:<folder>?split=<split>`` in which ir-datasets names a BEIR folder.

    Raises:
        DataError: for an option other than ``split``.
    """
    folder, _, query = text.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key != "split":
            raise DataError.of(f"unknown option {key!r}", where=text, hint=nearest(key, ["split"]))
    return LocalSpec(path=folder, split=options.get("split", "test"))


def beir_file(folder: Path, name: str) -> Path:
    """Return the file of a BEIR folder, packed or not.

    Raises:
        DataError: when there is none.
    """
    for ending in _PACKED:
        if (folder / (name + ending)).is_file():
            return folder / (name + ending)
    present = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
    hint = f"a BEIR folder has corpus.jsonl, queries.jsonl (or .gz) and qrels/<split>.tsv; this one has: {present}"
    raise DataError.of(f"there is no {name}", where=str(folder), hint=hint)


def _splits(folder: Path) -> dict[str, Path]:
    files = sorted((folder / "qrels").glob("*.tsv*"))
    return {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path
        for path in files
        if path.name.endswith((".tsv", ".tsv.gz"))
    }


def _split(folder: Path, split: str) -> Path:
    splits = _splits(folder)
    if split not in splits:
        hint = (
            f"{nearest(split, list(splits))}"
            if splits
            else "a BEIR folder keeps its judgements in qrels/<split>.tsv"
        )
        raise DataError.of(
            f"there are no judgements for the split {split!r}", where=str(folder / "qrels"), hint=hint
        )
    return splits[split]


def _folder(path: Path) -> Path:
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        hint = (
            "'path' names a BEIR folder ('docs', 'queries' and 'qrels' name files); relative paths start at the workspace, "
            "the current folder unless --workspace says otherwise"
        )
        raise DataError.of(f"the folder of the collection {what}", where=str(path), hint=hint)
    return path


def _file(path: Path) -> Path:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError.of(f"the file {what}", where=str(path), hint="relative paths start at the workspace")
    return path
