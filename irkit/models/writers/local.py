"""A causal language model on this machine as a writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.core.text import well_formed
from irkit.models.writers.writer import Job, Prompt, Text

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM

WRITING = 1
"""Counts up when the same model comes to write other texts for the same jobs."""


class LocalWriter:
    """Writes by a model that is loaded when the first text is wanted; texts come in the order of their jobs.

    On the CPU a text depends on its job alone; for accelerators see :func:`irkit.models.lm.generation.write`.
    """

    def __init__(
        self,
        load: Callable[[], CausalLM],
        identity: Mapping[str, Any],
        *,
        budget: int = 1 << 15,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Make a writer.

        Args:
            load: loads the model.
            identity: the model's fingerprint and whatever else decides what it writes.
            budget: tokens of one call on an accelerator.
            notes: takes the budget that was found to fit.
        """
        self._load, self._budget, self._notes = load, budget, notes
        self._identity = {"kind": "local", "writing": WRITING, **identity}

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model's fingerprint, and whatever else decides what it writes."""
        return self._identity

    @cached_property
    def _model(self) -> CausalLM:
        return self._load()

    def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
        """Write a text for every job, in order; each is kept before the next call of the model.

        Raises:
            ModelError: when the model cannot be loaded, or a prompt and its text do not fit into its positions or the memory.
        """
        from irkit.models.lm.generation import Draw, write

        if not jobs:
            return
        prompts = [self._tokens(job) for job in jobs]
        draws = [
            Draw(job.sampling.temperature, job.sampling.top_p, job.seed) if job.sampling.temperature else None
            for job in jobs
        ]
        limits = [job.sampling.max_tokens for job in jobs]
        texts = write(self._model, prompts, limits, draws=draws, budget=self._budget, notes=self._notes)
        for place, (prompt, written) in enumerate(zip(prompts, texts, strict=True)):
            keep(place, Text(well_formed(written.text.strip()), len(prompt), written.tokens))

    def _tokens(self, job: Job) -> NDArray[np.int64]:
        """Return the tokens of the chat up to where the model answers; special tokens named in the user's message are text."""
        model, prompt = self._model, job.prompt
        template = model.template(prompt.system)
        before, behind = model.encode([template.prefix, template.suffix], special=True)
        (message,) = model.encode([prompt.user])
        tokens = np.concatenate([before, message, behind]).astype(np.int64, copy=False)
        room = model.positions
        if room is not None and len(tokens) + job.sampling.max_tokens > room:
            raise ModelError.of(
                f"a prompt of {len(tokens)} tokens and a text of up to {job.sampling.max_tokens} do not fit into the model's "
                f"{room} positions",
                where=f"{model.name}, prompt {_start(prompt)!r}",
                hint="take fewer or shorter documents (fb_docs, words), a smaller llm.max_tokens, or a model with more positions",
            )
        return tokens


def _start(prompt: Prompt) -> str:
    return prompt.user if len(prompt.user) <= 60 else f"{prompt.user[:60]}..."
