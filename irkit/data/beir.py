"""BEIR's four sets that may not be handed on: opened from a folder that their licensee has made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from irkit.core.errors import DataError
from irkit.data.docstore import Document
from irkit.data.local import LocalSource
from irkit.data.policies import policy_of
from irkit.data.source import Judgement, Source, Table, Topic
from irkit.data.spec import LocalSpec
from irkit.store.digests import DigestCache

HOME = "IRKIT_BEIR_HOME"
"""The environment variable with the folder of BEIR folders: ``<folder>/bioasq`` and so on."""

NAMES = ("beir/bioasq", "beir/robust04", "beir/signal1m", "beir/trec-news")
"""What ir-datasets does not have of BEIR's 18 sets."""


def licensed_source(name: str, base: Path, digests: DigestCache) -> Source:
    """Return the set from its folder; without the folder a source that says so as soon as it is read."""
    home = os.environ.get(HOME)
    folder = base / Path(home).expanduser() / name.removeprefix("beir/") if home else None
    if folder is None or not folder.is_dir():
        return AbsentSource(name, folder)
    return LocalSource(LocalSpec(path=str(folder), name=name, policy=policy_of(name)), base, digests)


class AbsentSource(Source):
    """A set that is known and not here: an experiment may name it, and only running it needs the folder."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name, self._folder = name, folder

    def docs_identity(self) -> Mapping[str, Any]:
        """Raise what :meth:`topics_identity` does."""
        self._absent()

    def topics_identity(self) -> Mapping[str, Any]:
        """Raise a DataError that says how to get the set, or how to do without."""
        self._absent()

    def docs(self, scratch: Path) -> Table[Document]:
        """Raise what :meth:`topics_identity` does."""
        self._absent()

    def topics(self, scratch: Path) -> Table[Topic]:
        """Raise what :meth:`topics_identity` does."""
        self._absent()

    def qrels(self, scratch: Path) -> Table[Judgement]:
        """Raise what :meth:`topics_identity` does."""
        self._absent()

    def _absent(self) -> NoReturn:
        missing = f"there is no folder {self._folder}" if self._folder else f"{HOME} is not set"
        short = self.name.removeprefix("beir/")
        raise DataError.of(
            f"the collection is licensed and cannot be downloaded, and {missing}",
            where=self.name,
            hint=f"make BEIR's folder of it (https://github.com/beir-cellar/beir/wiki says how), put it at <folder>/{short} "
            f"and set {HOME}=<folder>; or leave it out: irkit run ... --only names the collections to run on",
        )
