"""Reasoning in place of the query, as on BRIGHT, and any text in place of it."""

from __future__ import annotations

from collections.abc import Sequence

from irkit.models.writers.writer import Prompt, Sampling
from irkit.stages.query.reformulation.method import Form, Method, Request, filled, plain, repeated
from irkit.stages.query.reformulation.prompts import COT, COT_SYSTEM


def ask_cot(request: Request) -> list[Prompt]:
    """Return the prompt."""
    return [Prompt(filled(COT, query=request.query.replace("\n", " ")), COT_SYSTEM)]


def ask_nothing(request: Request) -> list[Prompt]:
    """Return a prompt that nobody reads: the texts come from a file."""
    return [Prompt(request.query)]


def compose(query: str, texts: Sequence[str], form: Form) -> str:
    """Return the texts alone; with ``repeat`` the query so many times before them."""
    return repeated(query, form.repeat or 0, *map(plain, texts))


COT_METHOD = Method(ask_cot, compose, Sampling(temperature=0.8, top_p=0.8, max_tokens=2048))
REPLACE = Method(ask_nothing, compose, Sampling(temperature=0.0, top_p=1.0, max_tokens=1), count=1 << 10)
