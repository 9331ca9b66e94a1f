"""What a stage is given to work with: the collection, the store, the device, and where to report progress."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from irkit.data.collection import Collection
from irkit.store import Artifact, Build, Recipe, Store


class Advance(Protocol):
    """Reports that ``n`` more units of a task are done."""

    def __call__(self, n: int, /) -> None:
        """Report progress."""
        ...


class Progress(Protocol):
    """Shows the progress of named tasks; the CLI draws bars, a library call shows nothing."""

    def task(self, label: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Open a task of ``total`` units, of which ``done`` were done by an earlier run."""
        ...

    def say(self, text: str) -> None:
        """Tell the user something that is not an error: that a lock is waited for, say."""
        ...


class Silent:
    """Progress that shows nothing."""

    def task(self, label: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Open a task nobody watches."""
        return nullcontext(lambda _n: None)

    def say(self, text: str) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Runtime:
    """How to compute, as opposed to what: nothing here may change a result.

    Attributes:
        device: a torch device name, or None for the best there is.
        threads: CPU threads for libraries that take a number.
        writes: whether language models write the texts that the store lacks. A measurement has none written, for it shall cost
            nothing, and a second look would find them written; the tokens of those that it reads count as if they were written now.
    """

    device: str | None = None
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    writes: bool = True


@dataclass(frozen=True)
class Context:
    """The surroundings of one stage on one collection."""

    collection: Collection
    store: Store
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=Silent)
    workspace: Path = field(default_factory=Path.cwd)
    """The folder against which relative paths in options (a model in a local folder) are resolved."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the stage decided (device, dtype, batch size): kept in the manifest of its results and shown in the report."""
    counts: Counter[str] = field(default_factory=Counter)
    """What ``run`` counted (documents that were cut); ``group/name`` for those that are shown together. The executor clears it
    before every chunk and adds up the chunks, so a stage only ever adds. They are shown among the notes."""
    shared: dict[Any, Any] = field(default_factory=dict)
    """What all stages of one run have in common, on all its collections, such as what an endpoint may still cost. Nothing that
    can change a result."""

    def warn(self, text: str) -> None:
        """Tell the user of a doubt about the results, once a run."""
        told = self.shared.setdefault("warned", set())
        if text not in told:
            told.add(text)
            self.progress.say(f"warning: {text}")

    def artifact(self, recipe: Recipe, builder: Callable[[Build], Mapping[str, Any]]) -> Artifact:
        """Return an artifact that the stage needs (an index, token vectors), built when the store has none."""
        return self.store.get(recipe, builder)
