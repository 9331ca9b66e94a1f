"""LIMIT and LIMIT-small (Weller et al. 2025, arXiv 2508.21038): the files that its authors published (CC BY 4.0)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irkit.core.errors import DataError
from irkit.data import formats
from irkit.data.docstore import Document
from irkit.data.download import download, verify
from irkit.data.source import Judgement, Source, Table, Topic

HOME = "IRKIT_LIMIT_HOME"
"""The environment variable with the folder of local copies: ``<folder>/limit`` and ``<folder>/limit-small``."""

_URL = "https://raw.githubusercontent.com/google-deepmind/limit/main/data"

# Content of the unpacked files: SHA-256, or the git blob id in the authors' repository. Judgements: SHA-256 of the lines
# "query <tab> document <tab> gain", so that the published qrels.jsonl and BEIR's qrels/test.tsv compare equal.
_DIGESTS = {
    "limit": {
        "corpus.jsonl": "164e0d00806b8cac9f4972c3440f893d7a66f737",
        "queries.jsonl": "1ead4c54487728173aa1433778a2ab0f4cf1cf8aeeedb886c05238b32d818594",
        "qrels": "dfaa216f62f5667f0d424ec62fb3009fa82042bced7d71723c53e47044fed82f",
    },
    "limit-small": {
        "corpus.jsonl": "ebc38fa10c96fa02e4501e41968edf586efffc6241b6cd10f1c8757c1854dc53",
        "queries.jsonl": "0afedee8bb9aec36053568673bc7b5eb3e5fc416b49d44f187026de930084db8",
        "qrels": "c2d68b53e857049ceaffcccd0ceeedce61d4cfc73bbdb41f8679f526755a9e54",
    },
}
_DOCUMENTS = {"limit": 50_000, "limit-small": 46}

NAMES = tuple(f"irkit/{name}" for name in _DIGESTS)


class LimitSource(Source):
    """The published files, from ``$IRKIT_LIMIT_HOME`` or from the authors' repository; every byte is verified."""

    editable = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._set = name.removeprefix("irkit/")

    def docs_identity(self) -> dict[str, Any]:
        """Return the digest that the documents must have: nothing needs to be read for it."""
        return {"source": "limit", "content": _DIGESTS[self._set]["corpus.jsonl"]}

    def topics_identity(self) -> dict[str, Any]:
        """Return the digests that the files must have."""
        return {"source": "limit", **_DIGESTS[self._set]}

    def docs(self, scratch: Path) -> Table[Document]:
        """Return the documents; their ids are names of persons.

        Raises:
            DataError: without a local copy and without network, or when the content is not the published one.
        """
        table = formats.documents(self._verified("corpus.jsonl", scratch))
        return Table(table.origin, table.rows, _DOCUMENTS[self._set])

    def topics(self, scratch: Path) -> Table[Topic]:
        """Return the 1000 queries; raises as :meth:`docs` does."""
        return formats.topics(self._verified("queries.jsonl", scratch))

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Return the 2000 judgements; raises as :meth:`docs` does."""
        path = self._file(("qrels.jsonl", "qrels/test.tsv"), scratch)
        table = formats.judgements(path)
        digest = hashlib.sha256()
        for _, (qid, docno, gain) in table.rows():
            digest.update(f"{qid}\t{docno}\t{gain}\n".encode())
        if digest.hexdigest() != _DIGESTS[self._set]["qrels"]:
            raise DataError.of(
                "the judgements are not the published ones", where=str(path), hint=self._hint()
            )
        return table

    def _verified(self, name: str, scratch: Path) -> Path:
        path = self._file((name,), scratch)
        try:
            verify(path, _DIGESTS[self._set][name], hint=self._hint())
        except DataError:
            if path.is_relative_to(scratch):  # a damaged download must not be found again
                path.unlink()
            raise
        return path

    def _file(self, names: tuple[str, ...], scratch: Path) -> Path:
        """Return the file of the first of these names: the local copy where there is one, else downloaded."""
        for path in self._copies(names):
            return path
        path = scratch / "download" / names[0]
        if not path.is_file():
            download(f"{_URL}/{self._set}/{names[0]}", path, hint=self._hint())
        return path

    def _copies(self, names: tuple[str, ...]) -> Iterator[Path]:
        home = os.environ.get(HOME)
        if not home:
            return
        folder = Path(home).expanduser() / self._set
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    yield path

    def _hint(self) -> str:
        return (
            f"either allow a connection to raw.githubusercontent.com, or copy data/{self._set} of "
            f"https://github.com/google-deepmind/limit to <folder>/{self._set} and set {HOME}=<folder>. "
            "Without either, irkit/limit-synthetic makes a collection of the same kind"
        )
