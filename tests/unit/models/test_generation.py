"""What a tiny model writes: against transformers itself, in batches and alone, within its bounds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm.generation import generate
from irkit.models.lm.model import CausalLM

TEXTS = ["wing drag", "the boundary layer of a wing in a flow of heat", "query"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    folder = tiny_lm(tmp_path_factory.mktemp("lm") / "llama", layers=2)
    return open_tiny(folder, attention="sdpa")


def greedily(model: CausalLM, prompt: np.ndarray[Any, Any], limit: int) -> str:
    """The oracle: a whole forward pass for every token."""
    ids = prompt.tolist()
    for _ in range(limit):
        with torch.inference_mode():
            best = int(model.model(torch.tensor([ids])).logits[0, -1].argmax())
        if best == model.tokenizer.eos_token_id:
            break
        ids.append(best)
    return str(model.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True))


def test_the_most_probable_token_each_time(model: CausalLM) -> None:
    prompts = model.encode(TEXTS)
    limits = [12, 3, 7]
    expected = [greedily(model, prompt, limit) for prompt, limit in zip(prompts, limits, strict=True)]
    assert list(generate(model, prompts, limits)) == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize(("prompts_a_call", "calls"), [(3, [3]), (2, [2, 1]), (0, [1, 1, 1])])
def test_prompts_share_calls_on_an_accelerator(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch, prompts_a_call: int, calls: list[int]
) -> None:
    prompts, limits = model.encode(TEXTS), [12, 3, 7]
    budget = prompts_a_call * max(len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True))
    alone = list(generate(model, prompts, limits))
    sizes = _watch(model, monkeypatch)
    assert list(generate(model, prompts, limits, budget=budget)) == alone
    assert sizes == calls


def _watch(model: CausalLM, monkeypatch: pytest.MonkeyPatch, fits: int = 99) -> list[int]:
    """Have the model take itself for one on an accelerator, whose memory takes some prompts at a time; return the calls' sizes."""
    sizes: list[int] = []
    real = model.model.generate

    def fake(input_ids: Any, **options: Any) -> Any:
        if len(input_ids) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(input_ids))
        moved = {k: v.to("cpu") if hasattr(v, "to") else v for k, v in options.items()}
        return real(input_ids=input_ids.to("cpu"), **moved)

    monkeypatch.setattr(model.model, "generate", fake)
    monkeypatch.setattr(model, "device", "cpu:0")  # any name but "cpu"
    return sizes


def test_too_little_memory_halves_what_shares_a_call(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, limits = model.encode(TEXTS), [4, 4, 4]
    alone = list(generate(model, prompts, limits))
    notes: dict[str, Any] = {}
    sizes = _watch(model, monkeypatch, fits=1)
    assert list(generate(model, prompts, limits, notes=notes)) == alone
    assert sizes == [1, 1, 1]
    assert "out of memory at 3 prompts" in notes["batch_tokens"]


def test_a_prompt_that_does_not_fit_alone(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(model, monkeypatch, fits=0)
    with pytest.raises(ModelError, match="too little memory for a prompt"):
        list(generate(model, model.encode(TEXTS), [4, 4, 4]))


def test_what_the_authors_advise_for_chats_does_not_count(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = model.encode(TEXTS)
    plain = list(generate(model, prompts, [12] * 3))
    advice = {"do_sample": True, "temperature": 5.0, "top_k": 3, "repetition_penalty": 9.0, "max_length": 5}
    for name, value in advice.items():
        monkeypatch.setattr(model.model.generation_config, name, value)
    assert list(generate(model, prompts, [12] * 3)) == plain


@pytest.mark.parametrize("several", [False, True])
def test_the_models_own_end_ends_its_turn(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """The tokeniser's end of a text is not always the end of a turn: Llama 3's is another token."""
    (prompt,) = model.encode(TEXTS[:1])
    with torch.inference_mode():
        written = model.model.generate(torch.from_numpy(prompt)[None], max_new_tokens=12, do_sample=False)[0]
    written = written[len(prompt) :].tolist()
    place = next(at for at in range(2, 12) if written[at] not in written[:at])
    monkeypatch.setattr(
        model.model.generation_config, "eos_token_id", [511, written[place]] if several else written[place]
    )
    (text,) = generate(model, [prompt], [12])
    assert text.startswith(model.tokenizer.decode(written[:place]))
    assert len(text) < len(model.tokenizer.decode(written, skip_special_tokens=True))
    assert text == greedily(model, prompt, place + 1)


def test_the_tokenisers_end_ends_it_too(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    (prompt,) = model.encode(TEXTS[:1])
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", None)
    long = greedily(model, prompt, 12)
    third = model.encode([long])[0][2]
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(int(third))
    monkeypatch.setattr(model, "tokenizer", tokenizer)
    assert len(next(generate(model, [prompt], [12]))) < len(long)


def test_a_longer_prompt_elsewhere_does_not_keep_a_call_large(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [*[np.full(6, 9)] * 8, np.full(60, 9)]
    notes: dict[str, Any] = {}
    sizes = _watch(model, monkeypatch, fits=2)
    assert len(list(generate(model, prompts, [2] * 9, budget=80, notes=notes))) == 9
    assert sizes == [2, 2, 2, 2, 1]  # 8 prompts of 8 tokens, then 4, then 2
    assert notes["batch_tokens"] == "16: the device ran out of memory at 4 prompts"
