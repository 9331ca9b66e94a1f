"""Where a stage's texts come from: a writer whose texts the store keeps, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from irkit.models.writers.keeping import LEDGER, Keeper
from irkit.models.writers.prepared import missing
from irkit.models.writers.writer import Job, Prompt, Sampling, Writer
from irkit.pipeline.context import Context


class Author(Protocol):
    """Where the texts of queries or documents come from."""

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        """Return the texts of every owner.

        Args:
            owners: whose: the text that a query began with, or the docno of a document.
            prompts: for each, what is asked.
            count: texts for every prompt.
            sampling: how they are sampled.

        Returns:
            for each owner ``count`` texts of its first prompt, then those of the next; a file may have fewer, but has one.
        """
        ...


class Written:
    """Texts of a model, kept in the store."""

    def __init__(self, writer: Writer, context: Context) -> None:
        self._writer, self._context = writer, context
        self._ledger = context.store.ledger(LEDGER)

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        """Return the texts of every owner, written where the store lacks them."""
        jobs = [[job for prompt in each for job in Job.several(prompt, sampling, count)] for each in prompts]
        every = [job for each in jobs for job in each]
        context = self._context
        with context.progress.task("texts", len(set(every))) as advance:
            found = iter(Keeper(self._writer, self._ledger, context.counts, advance).texts(every))
        return [[next(found) for _ in each] for each in jobs]


class Prepared:
    """Texts of a file."""

    def __init__(
        self, path: Path, texts: Mapping[str, Sequence[str]], ids: Mapping[str, str] | None = None
    ) -> None:
        self._path, self._texts, self._ids = path, texts, ids or {}

    def check(self, owners: Sequence[str]) -> None:
        """Make sure that the file has a text of each.

        Raises:
            DataError: naming those that it lacks.
        """
        lacking = missing(self._texts, [self._ids.get(owner, owner) for owner in owners], self._path)
        if lacking is not None:
            raise lacking

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        """Return the first texts of every owner, as many as are asked for, or all where there are fewer."""
        self.check([owner for owner, asked in zip(owners, prompts, strict=True) if asked])
        return [
            [text for text in self._texts[self._ids.get(owner, owner)] if text.strip()][: len(asked) * count]
            if asked
            else []
            for owner, asked in zip(owners, prompts, strict=True)
        ]
