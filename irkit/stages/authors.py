"""Where a stage's texts come from: a writer whose texts the store keeps, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from irkit.core.errors import DataError
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
            keeper = Keeper(
                self._writer,
                self._ledger,
                context.counts,
                advance,
                context.progress.say,
                writes=context.runtime.writes,
            )
            found = iter(keeper.texts(every))
        return [[next(found) for _ in each] for each in jobs]


class Prepared:
    """Texts of a file."""

    def __init__(
        self, path: Path, texts: Mapping[str, Sequence[str]], ids: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Hold the texts of a file.

        Args:
            path: of the file.
            texts: by id, or by owner.
            ids: the ids of an owner, of whom several queries with one text have several; an owner's own name unless given.
        """
        self._path, self._texts, self._ids = path, texts, ids

    def check(self, owners: Sequence[str]) -> None:
        """Make sure that the file has a text of each.

        Raises:
            DataError: naming those that it lacks, an owner without an id, or two ids of one owner with different texts.
        """
        strange = (
            None if self._ids is None else next((each for each in owners if each not in self._ids), None)
        )
        if strange is not None:
            raise DataError.of(
                f"the file goes by the ids of the collection's queries, and {strange[:60]!r} is none of them",
                where=str(self._path),
                hint="for queries of your own take a file that goes by text, llm: {by: text}, or a model, llm: smollm2",
            )
        every = [self._named(owner) for owner in owners]
        lacking = missing(self._texts, [name for names in every for name in names], self._path)
        if lacking is not None:
            raise lacking
        for names in every:
            other = next((name for name in names if self._of(name) != self._of(names[0])), None)
            if other is not None:
                raise DataError.of(
                    f"{names[0]!r} and {other!r} are queries of the same text, with different texts in the file",
                    where=str(self._path),
                    hint="results belong to a query's text: give both the same texts, or leave one of the queries out",
                )

    def _named(self, owner: str) -> Sequence[str]:
        return (owner,) if self._ids is None else self._ids[owner]

    def _of(self, name: str) -> list[str]:
        return [text for text in self._texts[name] if text.strip()]

    def texts(
        self, owners: Sequence[str], prompts: Sequence[Sequence[Prompt]], count: int, sampling: Sampling
    ) -> list[list[str]]:
        """Return the first texts of every owner, as many as are asked for, or all where there are fewer."""
        self.check([owner for owner, asked in zip(owners, prompts, strict=True) if asked])
        return [
            self._of(self._named(owner)[0])[: len(asked) * count] if asked else []
            for owner, asked in zip(owners, prompts, strict=True)
        ]
