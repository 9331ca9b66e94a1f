"""What a causal language model writes after a prompt: greedily, the most probable token each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irkit.core.errors import ModelError
from irkit.models.lm.fitting import fitting
from irkit.models.lm.model import CausalLM


def generate(
    model: CausalLM,
    prompts: Sequence[NDArray[np.int64]],
    limits: Sequence[int],
    *,
    budget: int = 1 << 15,
    notes: dict[str, Any] | None = None,
) -> Iterator[str]:
    """Yield what the model writes after each prompt, up to the end of its turn, without special tokens.

    On the CPU every prompt is on its own, so its text depends on that prompt alone. On an accelerator, prompts that are next to
    each other share a call, padded on the left; the matrix library may then round otherwise, and where two tokens are all but
    equally probable, another one may be written.

    Args:
        model: loaded with an attention function that transformers generates with, such as "sdpa".
        prompts: the tokens of each, ``int64[n]``.
        limits: the most tokens that are written after each.
        budget: tokens, padding and what is written included, of one call.
        notes: takes the budget that was found to fit.

    Raises:
        ModelError: when one prompt alone needs more memory than the device has.
    """

    def run(start: int, stop: int) -> list[str]:
        return _write(model, prompts[start:stop], limits[start:stop])

    def refuse(alone: int) -> ModelError:
        return ModelError.of(
            f"the device has too little memory for a prompt of {len(prompts[alone])} tokens",
            where=model.name,
            hint="take fewer or shorter documents (window, words), a smaller dtype, or another device",
        )

    def halved(budget: int, start: int, stop: int) -> None:
        if notes is not None:
            notes["batch_tokens"] = f"{budget}: the device ran out of memory at {stop - start} prompts"

    sizes = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]
    share = model.device != "cpu"
    yield from fitting(sizes, budget, run, refuse, share=share, padded=True, halved=halved)


def _write(model: CausalLM, prompts: Sequence[NDArray[np.int64]], limits: Sequence[int]) -> list[str]:
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
        )
    written = found[:, width:].cpu()
    return [
        str(model.tokenizer.decode(row[:limit], skip_special_tokens=True))
        for row, limit in zip(written, limits, strict=True)
    ]


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
