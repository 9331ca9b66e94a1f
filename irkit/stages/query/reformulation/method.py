"""What a method of reformulation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from irkit.models.writers.writer import Prompt, Sampling

Target = Literal["sparse", "dense"]
"""For which retriever a text is made: one that counts words, or one that encodes it as a whole."""


@dataclass(frozen=True)
class Request:
    """What a method makes its prompts of.

    Attributes:
        query: the text of the query.
        context: the texts of feedback documents, joined; None without feedback.
        instruction: the number of GenQR's instruction, from 1 on.
        task: the kind of passage that HyDE asks for.
        examples: pairs of query and passage for Query2doc.
    """

    query: str
    context: str | None = None
    instruction: int = 1
    task: str = "web-search"
    examples: tuple[tuple[str, str], ...] = ()


class Ask(Protocol):
    """Makes the prompts for a query."""

    def __call__(self, request: Request, /) -> list[Prompt]:
        """Return the prompts."""
        ...


@dataclass(frozen=True)
class Form:
    """How a new query is put together.

    Attributes:
        target: for which retriever.
        repeat: how often the query stands in it; as published for None.
        adaptive: MuGI's divisor.
        separator: what stands between the query and Query2doc's passage for an encoder.
    """

    target: Target = "sparse"
    repeat: int | None = None
    adaptive: int = 5
    separator: str = "[SEP]"


class Compose(Protocol):
    """Makes the new query."""

    def __call__(self, query: str, texts: Sequence[str], form: Form) -> str:
        """Return the new query.

        Args:
            query: the text of the query.
            texts: what the language model wrote.
            form: how it is put together.
        """
        ...


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes:
        ask: makes its prompts.
        compose: makes the new query.
        sampling: the published one.
        count: texts for every prompt.
        feedback: how many documents it reads when it follows a retriever.
        targets: for which retrievers it makes a text.
    """

    ask: Ask
    compose: Compose
    sampling: Sampling
    count: int = 1
    feedback: int = 0
    targets: tuple[Target, ...] = ("sparse", "dense")


def plain(text: str) -> str:
    """Return a text on one line, without leading, trailing or doubled spaces."""
    return " ".join(text.split())


def filled(template: str, **parts: Any) -> str:
    """Put parts into the places of a template; braces in the parts are text."""
    return template.format(**parts)


def repeated(query: str, times: int, *more: str) -> str:
    """Return the query so many times and then the rest, joined by spaces."""
    return " ".join([*[query] * times, *filter(None, more)])
