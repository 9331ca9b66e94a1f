"""What every head of a model is worth by a criterion, on judged lists wherever they come from: what finding heads comes down to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from irkit.core.errors import ModelError
from irkit.core.rankings import CodeArray
from irkit.data.docstore import DocStore
from irkit.stages.rerank.head_selection import Criterion, Gains, Scores, Values
from irkit.stages.rerank.language import LanguageModelOptions

if TYPE_CHECKING:
    from irkit.models.lm.model import CausalLM
    from irkit.stages.rerank.icr_prompt import IcrPrompt

_TOGETHER = 32
"""Queries whose prompts are made at the same time."""


@dataclass(frozen=True, eq=False)
class JudgedList:
    """A query and the documents of its list, judged.

    Attributes:
        qid: what errors call the query.
        query: its text.
        docs: ``int32[n]``, codes in the order in which the model reads them.
        gains: ``int64[n]``, at least one above 0 and at least one not.
        added: whether a relevant document is in it that the first stage had missed.
    """

    qid: str
    query: str
    docs: CodeArray
    gains: Gains
    added: bool = False


@dataclass(frozen=True)
class Reading:
    """How the lists are read; each as of the stage ``icr``.

    Attributes:
        options: ``words`` and ``batch_tokens``; the rest is the model's own.
        instruction: "qa", "general", or the text of another.
        rows: whose attention is read.
    """

    options: LanguageModelOptions = field(default_factory=LanguageModelOptions)
    instruction: str = "general"
    rows: Literal["suffix", "query"] = "suffix"


def head_values(
    lists: Sequence[JudgedList],
    docs: DocStore,
    model: CausalLM,
    criterion: Criterion,
    reading: Reading | None = None,
    advance: Callable[[int], object] = int,
) -> tuple[Values, int]:
    """Return every head's value, a mean over some lists, and how many documents were cut to fit into the model's positions.

    Heads that have the same values, list for list or in another order of the lists, have the same mean to the last bit.

    Args:
        lists: one at least.
        docs: the documents' texts.
        model: as ``LanguageModelOptions.load_model`` loads it.
        criterion: what makes a head good.
        reading: how the lists are read; as ``icr`` does it by default when None.
        advance: is told of every list that was read.

    Returns:
        ``float64[layers, heads]``, and the number of documents.

    Raises:
        ModelError: when attention is not finite, or a prompt does not fit into the model's positions or the device's memory.
    """
    values: list[Values] = []
    cut = 0
    for each, prompt, scores in _read(lists, docs, model, criterion, reading or Reading()):
        if not np.isfinite(scores).all():
            raise ModelError.of(
                "the attention is not finite",
                where=f"heads detect, query {each.qid!r}",
                hint="take dtype: bfloat16 or float32; float16 cannot hold what some models compute",
            )
        values.append(criterion(scores, each.gains))
        cut += prompt.cut
        advance(1)
    # in one order, so that rounding decides nothing between equal heads
    return np.sort(np.stack(values), axis=0).sum(axis=0) / len(lists), cut


def _read(
    lists: Sequence[JudgedList], docs: DocStore, model: CausalLM, criterion: Criterion, reading: Reading
) -> Iterator[tuple[JudgedList, IcrPrompt, Scores]]:
    """Yield every list with its prompt and what each head says of its documents, ``float32[layers, heads, docs]``."""
    from irkit.models.lm.packing import read_prompts
    from irkit.stages.rerank.icr_prompt import make_prompt

    for start in range(0, len(lists), _TOGETHER):
        some = lists[start : start + _TOGETHER]
        prompts = [
            make_prompt(
                model,
                each.query,
                reading.options.passages(docs, each.docs),
                instruction=reading.instruction,
                rows=reading.rows,
                calibrate=criterion.calibrated,
                where=f"query {each.qid!r}",
            )
            for each in some
        ]
        bounds = {made.prompt: made.bounds for made in prompts}
        found = read_prompts(
            model,
            [made.prompt for made in prompts],
            lambda prompt, bounds=bounds: criterion.collector(bounds[prompt]),  # type: ignore[misc]
            budget=reading.options.batch_tokens,
        )
        for each, made, collected in zip(some, prompts, found, strict=True):
            yield each, made, collected.result()
