"""Texts that are paid for once: kept in a ledger under the hash of who writes, what was asked, and how it is sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from irkit.core.errors import ModelError
from irkit.core.fingerprint import fingerprint
from irkit.core.text import well_formed
from irkit.models.writers.writer import Job, Text, Writer
from irkit.store import Ledger

LEDGER = "texts"
"""The name of the ledger in the store."""
AT_ONCE = 256
"""Texts that one process claims at a time, each until it is there; others may write the rest meanwhile."""


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
        say: Callable[[str], object] | None = None,
        *,
        writes: bool = True,
    ) -> None:
        """Make a keeper.

        Args:
            writer: writes what is not there.
            ledger: keeps it.
            counts: takes how many tokens were read and written, and how many texts were there already.
            done: told how many more texts are there.
            say: tells people that another process is waited for.
            writes: whether the writer may be asked. Where it may not, the tokens of texts that are there count.
        """
        self._writer, self._ledger, self._counts = writer, ledger, counts
        self._done = done or (lambda _n: None)
        self._say = say or (lambda _text: None)
        self._identity = fingerprint(writer.identity)
        self._told = False
        self._writes = writes

    def texts(self, jobs: Sequence[Job]) -> list[str]:
        """Return the text of every job.

        Raises:
            ModelError: when a text cannot be written, or may not; those that were are kept.
            StoreError: when the ledger cannot be read or written.
        """
        keys = [fingerprint({"writer": self._identity, "job": job.to_data()}) for job in jobs]
        wanted = dict(zip(keys, jobs, strict=True))
        found = {key: value for key in wanted if (value := self._ledger.get(key)) is not None}
        self._counts["texts/from the store"] += len(found)
        self._done(len(found))
        missing = [key for key in wanted if key not in found]
        if not self._writes:
            self._read_only(found, len(missing))
        while missing:
            found |= self._some(missing, wanted)
            missing = [key for key in missing if key not in found]
        return [well_formed(str(found[key]["text"])) for key in keys]

    def _some(self, missing: Sequence[str], wanted: dict[str, Job]) -> dict[str, Any]:
        """Write those of the first that no other process writes just now; when it writes all, wait for the first."""
        with ExitStack() as every:
            claims = {key: every.enter_context(ExitStack()) for key in missing[:AT_ONCE]}
            ours = [key for key in claims if claims[key].enter_context(self._ledger.claim(key))]
            if not ours:
                self._tell()
                ours = [missing[0]]
                claims[missing[0]].enter_context(self._ledger.claim(missing[0], wait=True))
            found = {key: value for key in ours if (value := self._ledger.get(key)) is not None}
            self._counts["texts/from the store"] += len(found)
            self._done(len(found))
            for key in found:
                claims[key].close()
            lacking = [key for key in ours if key not in found]

            def keep(place: int, text: Text) -> None:
                key = lacking[place]
                if key not in found:
                    found[key] = self._keep(key, text)
                    claims[key].close()

            if lacking:
                self._writer.write([wanted[key] for key in lacking], keep)
        return found

    def _read_only(self, found: dict[str, Any], missing: int) -> None:
        """Count the tokens that the texts took when they were written.

        Raises:
            ModelError: when some are not there.
        """
        if missing:
            texts = "a text is" if missing == 1 else f"{missing} texts are"
            raise ModelError.of(
                f"{texts} not written yet, and a measurement has none written",
                where=str(self._writer.identity.get("model", "llm")),
                hint="run the experiment first, with irkit run: it keeps what is written",
            )
        for value in found.values():
            prompt, completion = value["tokens"]
            self._counts["tokens/prompt"] += prompt
            self._counts["tokens/completion"] += completion

    def _tell(self) -> None:
        if not self._told:
            self._say("waiting: another irkit writes texts that are wanted here")
        self._told = True

    def _keep(self, key: str, text: Text) -> Any:
        tokens = [text.prompt_tokens, text.completion_tokens]
        kept = self._ledger.put(key, {"text": text.text, "tokens": tokens})
        self._counts["texts/written"] += 1
        self._counts["tokens/prompt"] += text.prompt_tokens
        self._counts["tokens/completion"] += text.completion_tokens
        self._done(1)
        return kept
