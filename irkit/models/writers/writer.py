"""What is asked of a writer, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from irkit.core.fingerprint import fingerprint
from irkit.core.text import well_formed


@dataclass(frozen=True)
class Prompt:
    """A chat of one question: the user's message, and the system's before it where there is one."""

    user: str
    system: str | None = None


@dataclass(frozen=True)
class Sampling:
    """How a text is chosen among those that the model may write.

    Attributes:
        temperature: 0 for the most probable token each time.
        top_p: tokens are drawn from the fewest that together have this probability.
        max_tokens: the most tokens of a text.
        seed: of the random numbers; an endpoint may heed it or not.
    """

    temperature: float
    top_p: float
    max_tokens: int
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """One text to be written: the ``sample``-th of those that are wanted for a prompt."""

    prompt: Prompt
    sampling: Sampling
    sample: int = 0

    @classmethod
    def several(cls, prompt: Prompt, sampling: Sampling, count: int) -> list[Job]:
        """Return the jobs of ``count`` texts for a prompt; without sampling all texts are one, and so are the jobs."""
        return [cls(prompt, sampling, sample if sampling.temperature > 0 else 0) for sample in range(count)]

    @property
    def seed(self) -> int:
        """The text's own seed: 63 bits of a digest of the whole job, which the sampling's seed is part of."""
        return int(fingerprint(self.to_data())[:16], 16) >> 1

    def to_data(self) -> dict[str, Any]:
        """Return what decides the text besides the writer, as JSON values."""
        sampling = asdict(self.sampling)
        if self.sampling.temperature == 0:  # nothing is drawn
            sampling |= {"top_p": 1.0, "seed": 0}
        system = None if self.prompt.system is None else well_formed(self.prompt.system)
        return {
            "user": well_formed(self.prompt.user),
            "system": system,
            "sampling": sampling,
            "sample": self.sample,
        }


@dataclass(frozen=True)
class Text:
    """What was written, and the tokens that were read and written for it."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Writer(Protocol):
    """Writes texts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides a text besides its job, as JSON values: the model, and where it runs when that matters."""
        ...

    def write(self, jobs: Sequence[Job], keep: Callable[[int, Text], None]) -> None:
        """Write a text for every job, in any order.

        Args:
            jobs: what is asked.
            keep: given (number of the job, its text) the moment a text is there, in the caller's thread. Also after an error, an
                interruption, or an error of its own, for what was under way then: it is paid for.

        Raises:
            ModelError: when the model cannot be had, or does not answer.
        """
        ...
