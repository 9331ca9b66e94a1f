"""GenQR and GenQREnsemble: keywords that the model suggests stand behind the query (Dhole and Agichtein, 2024).

GenQRFusion is no method of its own: ten pipelines with GenQR, one for every instruction, under ``fuse``.
"""

from __future__ import annotations

from collections.abc import Sequence

from irkit.models.writers.writer import Prompt, Sampling
from irkit.stages.query.reformulation.method import Form, Method, Request, filled, plain, repeated
from irkit.stages.query.reformulation.prompts import GENQR, GENQR_CHAT, GENQR_FEEDBACK


def _prompt(request: Request, instruction: str) -> Prompt:
    if request.context is None:
        return Prompt(filled(GENQR_CHAT, instruction=instruction, query=request.query))
    return Prompt(
        filled(GENQR_FEEDBACK, context=request.context, instruction=instruction, query=request.query)
    )


def ask_one(request: Request) -> list[Prompt]:
    """Return the prompt of one instruction."""
    return [_prompt(request, GENQR[request.instruction - 1])]


def ask_all(request: Request) -> list[Prompt]:
    """Return the prompts of all ten."""
    return [_prompt(request, instruction) for instruction in GENQR]


def compose(query: str, texts: Sequence[str], form: Form) -> str:
    """Return the query, once unless said otherwise, and all keywords behind it; a keyword counts as often as it was suggested."""
    return repeated(query, 1 if form.repeat is None else form.repeat, *map(plain, texts))


SAMPLING = Sampling(temperature=1.0, top_p=0.92, max_tokens=64)
GENQR_ONE = Method(ask_one, compose, SAMPLING, feedback=5)
GENQR_ENSEMBLE = Method(ask_all, compose, SAMPLING, feedback=5)
