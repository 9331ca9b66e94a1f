"""Texts that are paid for once: kept in a ledger under the hash of who writes, what was asked, and how it is sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from irkit.core.fingerprint import fingerprint
from irkit.models.writers.writer import Job, Text, Writer
from irkit.store import Ledger

LEDGER = "texts"
"""The name of the ledger in the store."""
AT_ONCE = 256
"""Texts that one process claims at a time; others may write the rest meanwhile."""


class Keeper:
    """Asks the writer for what the ledger lacks, and writes every text down the moment it is there.

    Of several processes that want the same text, one has it written while the others wait.
    """

    def __init__(
        self,
        writer: Writer,
        ledger: Ledger,
        counts: Counter[str],
        done: Callable[[int], object] | None = None,
    ) -> None:
        """Make a keeper.

        Args:
            writer: writes what is not there.
            ledger: keeps it.
            counts: takes how many tokens were read and written, and how many texts were there already.
            done: told how many more texts are there.
        """
        self._writer, self._ledger, self._counts = writer, ledger, counts
        self._done = done or (lambda _n: None)
        self._identity = fingerprint(writer.identity)

    def texts(self, jobs: Sequence[Job]) -> list[str]:
        """Return the text of every job.

        Raises:
            ModelError: when a text cannot be written; those that were are kept.
            StoreError: when the ledger cannot be read or written.
        """
        keys = [fingerprint({"writer": self._identity, "job": job.to_data()}) for job in jobs]
        wanted = dict(zip(keys, jobs, strict=True))
        found = {key: value for key in wanted if (value := self._ledger.get(key)) is not None}
        self._counts["texts/from the store"] += len(found)
        self._done(len(found))
        missing = [key for key in wanted if key not in found]
        while missing:
            found |= self._some(missing, wanted)
            missing = [key for key in missing if key not in found]
        return [str(found[key]["text"]) for key in keys]

    def _some(self, missing: Sequence[str], wanted: dict[str, Job]) -> dict[str, Any]:
        """Write those of the first that no other process writes just now; when it writes all, wait for the first."""
        with ExitStack() as claims:
            ours = [key for key in missing[:AT_ONCE] if claims.enter_context(self._ledger.claim(key))]
            if not ours:
                claims.enter_context(self._ledger.claim(missing[0], wait=True))
                ours = [missing[0]]
            found = {key: value for key in ours if (value := self._ledger.get(key)) is not None}
            self._counts["texts/from the store"] += len(found)
            self._done(len(found))
            lacking = [key for key in ours if key not in found]
            for place, text in self._writer.write([wanted[key] for key in lacking]):
                found[lacking[place]] = self._keep(lacking[place], text)
        return found

    def _keep(self, key: str, text: Text) -> Any:
        self._counts["texts/written"] += 1
        self._counts["tokens/prompt"] += text.prompt_tokens
        self._counts["tokens/completion"] += text.completion_tokens
        self._done(1)
        tokens = [text.prompt_tokens, text.completion_tokens]
        return self._ledger.put(key, {"text": text.text, "tokens": tokens})
