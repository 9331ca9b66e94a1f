"""HyDE, Query2doc and MuGI: passages that the model makes up as if they answered the query."""

from __future__ import annotations

from collections.abc import Sequence

from irkit.models.writers.writer import Prompt, Sampling
from irkit.stages.query.reformulation.method import Form, Method, Request, filled, plain, repeated
from irkit.stages.query.reformulation.prompts import (
    HYDE,
    MUGI,
    MUGI_SYSTEM,
    QUERY2DOC,
    QUERY2DOC_EXAMPLE,
)


def ask_hyde(request: Request) -> list[Prompt]:
    """Return the prompt of the task."""
    return [Prompt(filled(HYDE[request.task], query=request.query))]


def compose_hyde(query: str, texts: Sequence[str], form: Form) -> str:
    """Return query and passages, each once: HyDE itself makes a vector (the stage ``hyde``), this is its form for words."""
    return repeated(query, 1 if form.repeat is None else form.repeat, *map(plain, texts))


def ask_query2doc(request: Request) -> list[Prompt]:
    """Return the prompt; examples stand between its instruction and the query, as in the paper."""
    instruction, _, rest = QUERY2DOC.partition("\n\n")
    shown = "".join(filled(QUERY2DOC_EXAMPLE, query=q, passage=p) for q, p in request.examples)
    return [Prompt(f"{instruction}\n\n{shown}{filled(rest, query=request.query)}")]


def compose_query2doc(query: str, texts: Sequence[str], form: Form) -> str:
    """Return the query five times and the passage for words, or "query [SEP] passage" (Wang et al., 2023, section 2)."""
    passage = " ".join(map(plain, texts))
    if form.target == "dense":
        return f"{repeated(query, 1 if form.repeat is None else form.repeat)} {form.separator} {passage}"
    return repeated(query, 5 if form.repeat is None else form.repeat, passage)


def ask_mugi(request: Request) -> list[Prompt]:
    """Return the prompt."""
    return [Prompt(filled(MUGI, query=request.query), MUGI_SYSTEM)]


def compose_mugi(query: str, texts: Sequence[str], form: Form) -> str:
    """Return the query as often as keeps its weight, and the passages: (characters of the passages // characters of the query)
    // ``adaptive`` times (mugi.py of the released code, whose page says 5 and whose default is 6).

    The released code drops the query where that is 0; here it stays once. For dense retrieval it stands once.
    """
    passages = " ".join(map(plain, texts))
    repeat = form.repeat
    if repeat is None:
        often = len(passages) // max(1, len(query)) // form.adaptive
        repeat = 1 if form.target == "dense" else max(1, often)
    return repeated(query, repeat, passages)


HYDE_METHOD = Method(
    ask_hyde, compose_hyde, Sampling(temperature=0.7, top_p=1.0, max_tokens=512), count=8, targets=("sparse",)
)
QUERY2DOC_METHOD = Method(
    ask_query2doc, compose_query2doc, Sampling(temperature=1.0, top_p=1.0, max_tokens=128)
)
MUGI_METHOD = Method(ask_mugi, compose_mugi, Sampling(temperature=1.0, top_p=1.0, max_tokens=512), count=5)
