"""What a causal language model writes after a prompt: greedily, the most probable token each time, or drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.lm.fitting import fitting
from irkit.models.lm.model import CausalLM


@dataclass(frozen=True)
class Draw:
    """How the tokens of one text are drawn.

    Attributes:
        temperature: more than 0; logits are divided by it.
        top_p: tokens are drawn from the fewest that together have this probability.
        seed: of the text's own random numbers.
    """

    temperature: float
    top_p: float
    seed: int


class Written(NamedTuple):
    """A text, and how many tokens it took, the end of the turn included."""

    text: str
    tokens: int


def generate(
    model: CausalLM,
    prompts: Sequence[NDArray[np.int64]],
    limits: Sequence[int],
    *,
    budget: int = 1 << 15,
    notes: dict[str, Any] | None = None,
) -> Iterator[str]:
    """Yield the texts of :func:`write` alone, all of them greedy."""
    for written in write(model, prompts, limits, budget=budget, notes=notes):
        yield written.text


def write(
    model: CausalLM,
    prompts: Sequence[NDArray[np.int64]],
    limits: Sequence[int],
    *,
    draws: Sequence[Draw | None] | None = None,
    budget: int = 1 << 15,
    notes: dict[str, Any] | None = None,
) -> Iterator[Written]:
    """Yield what the model writes after each prompt, up to the end of its turn, without special tokens.

    On the CPU every prompt is on its own, so its text depends on that prompt alone. On an accelerator, prompts that are next to
    each other share a call, padded on the left; the matrix library may then round otherwise, and where two tokens are all but
    equally probable, another one may be written. Each text has its own random numbers, which do not depend on the device.

    Args:
        model: loaded with an attention function that transformers generates with, such as "sdpa".
        prompts: the tokens of each, ``int64[n]``.
        limits: the most tokens that are written after each.
        draws: how each is drawn; greedily for None.
        budget: tokens, padding and what is written included, of one call.
        notes: takes the budget that was found to fit.

    Raises:
        ModelError: when one prompt alone needs more memory than the device has.
    """

    chosen = [None] * len(prompts) if draws is None else draws

    def run(start: int, stop: int) -> list[Written]:
        return _write(model, prompts[start:stop], limits[start:stop], chosen[start:stop])

    def refuse(alone: int) -> ModelError:
        return ModelError.of(
            f"the device has too little memory for a prompt of {len(prompts[alone])} tokens",
            where=model.name,
            hint="take fewer or shorter documents (window, words, fb_docs), a smaller dtype, or another device",
        )

    def halved(budget: int, start: int, stop: int) -> None:
        if notes is not None:
            notes["batch_tokens"] = f"{budget}: the device ran out of memory at {stop - start} prompts"

    sizes = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]
    share = model.device != "cpu"
    yield from fitting(sizes, budget, run, refuse, share=share, padded=True, halved=halved)


def _write(
    model: CausalLM,
    prompts: Sequence[NDArray[np.int64]],
    limits: Sequence[int],
    draws: Sequence[Draw | None],
) -> list[Written]:
    import torch

    width = max(map(len, prompts))
    ends, fill = _ends(model)
    ids = torch.full((len(prompts), width), fill, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
        mask[row, width - len(prompt) :] = 1
    with torch.inference_mode():
        found = model.model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=_greedy(ends, fill, max(limits)),
            logits_processor=[_Drawing(draws)] if any(draws) else [],
        )
    written = found[:, width:].cpu().tolist()
    return [_read(model, row[:limit], ends) for row, limit in zip(written, limits, strict=True)]


def _read(model: CausalLM, tokens: list[int], ends: list[int]) -> Written:
    length = next((place for place, token in enumerate(tokens, 1) if token in ends), len(tokens))
    return Written(str(model.tokenizer.decode(tokens[:length], skip_special_tokens=True)), length)


class _Drawing:
    """Makes greedy decoding draw: to the log-probabilities it adds Gumbel noise, the largest sum of which is a draw from them
    (Gumbel, 1954; Maddison et al., 2014, eq. 3). So each row of a batch can have its own temperature and its own random numbers.
    """

    def __init__(self, draws: Sequence[Draw | None]) -> None:
        import torch

        self._draws = draws
        self._random = [
            None if draw is None else torch.Generator().manual_seed(draw.seed & (1 << 63) - 1)
            for draw in draws
        ]

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        out = scores.float().clone()
        for row, (draw, random) in enumerate(zip(self._draws, self._random, strict=True)):
            if draw is None or random is None:
                continue
            logits = out[row] / draw.temperature
            if draw.top_p < 1:
                ordered, order = logits.sort(descending=True, stable=True)
                chances = ordered.softmax(-1)
                before = chances.cumsum(-1) - chances  # the most probable token stays in any case
                logits[order[before >= draw.top_p]] = -torch.inf
            noise = torch.rand(logits.shape, generator=random, dtype=torch.float64)
            gumbel = -torch.log(-torch.log(noise.clamp(min=1e-300)))
            out[row] = logits + gumbel.to(logits.device, logits.dtype)
        return out


def _greedy(ends: list[int], fill: int, limit: int) -> Any:
    """Return a configuration in which what the model's authors advise for chats (sampling, penalties) does not count.

    Those of sampling have transformers' own defaults: without sampling they are not looked at, and any other would be warned of.
    """
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=limit,
        eos_token_id=ends,
        pad_token_id=fill,
    )


def _ends(model: CausalLM) -> tuple[list[int], int]:
    """Return the tokens that end the model's turn, and one to pad with."""
    advised = model.model.generation_config.eos_token_id
    ends = [] if advised is None else [advised] if isinstance(advised, int) else list(advised)
    ends += [each for each in (model.tokenizer.eos_token_id,) if each is not None and each not in ends]
    fill = model.tokenizer.pad_token_id
    return ends, fill if fill is not None else next(iter(ends), 0)
