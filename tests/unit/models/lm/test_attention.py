"""Tests of reading a model's attention: against transformers' eager attention, whole prompts, masks and all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import FAMILIES, open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm import kernels, rows
from irkit.models.lm.model import CausalLM
from irkit.models.lm.packing import Prompt, read_prompts
from irkit.models.lm.segments import Read, Segments

CLOSE = {"rtol": 1e-5, "atol": 1e-8}
LAYERS = 4
HEADS = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CausalLM]:
    folder = tmp_path_factory.mktemp("models")
    short = {"sliding_window": 16}  # so short that it hides what a prompt of the tests could see
    made = {family: tiny_lm(folder / family, family) for family in FAMILIES}
    made["mistral, window"] = tiny_lm(folder / "window", "mistral", **short)
    made["gemma2, window"] = tiny_lm(folder / "gemma2-window", "gemma2", **short)
    made["gemma3, window"] = tiny_lm(folder / "gemma3-window", "gemma3", **short)
    return {name: open_tiny(path) for name, path in made.items()}


ALL = [*FAMILIES, "mistral, window", "gemma2, window", "gemma3, window"]


def tokens(seed: int, *lengths: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 400, length) for length in lengths]


class Taken:
    """Keeps all that was read, ``float32[reads, layers, heads, documents' tokens]``; NaN where nothing was."""

    def __init__(self, reads: Sequence[Read], layers: int = LAYERS) -> None:
        width = max(read.documents[1] - read.documents[0] for read in reads)
        self.weights = np.full((len(reads), layers, HEADS, width), np.nan, np.float32)

    def __call__(self, layer: int, read: int, weights: torch.Tensor) -> None:
        assert weights.dtype == torch.float32
        self.weights[read, layer, :, : weights.shape[1]] = weights.numpy()

    def take(self, layer: int, read: int, weights: torch.Tensor) -> None:
        self(layer, read, weights)


def read(model: CausalLM, segments: Segments, reads: Sequence[Read], **options: Any) -> np.ndarray:
    taken = Taken(reads)
    model.read(segments, reads=reads, sink=taken, **options)
    return taken.weights


def eager(
    model: CausalLM, ids: np.ndarray, positions: np.ndarray | None = None, mask: Any = None
) -> np.ndarray:
    """Return all attention matrices of transformers, ``[layers, heads, T, T]``."""
    whole = model.model
    whole.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            given: dict[str, Any] = {"input_ids": torch.from_numpy(ids)[None]}
            if positions is not None:
                given["position_ids"] = torch.from_numpy(positions)[None]
            if mask is not None:
                given["attention_mask"] = torch.where(mask, 0.0, torch.finfo(torch.float32).min)[None, None]
            return torch.stack(whole(**given, output_attentions=True).attentions)[:, 0].numpy()
    finally:
        whole.set_attn_implementation("irkit")


@pytest.mark.parametrize("family", ALL)
def test_a_whole_prompt_is_read_as_transformers_computes_it(models: dict[str, CausalLM], family: str) -> None:
    (ids,) = tokens(0, 61)
    found = read(models[family], Segments.of([(ids, 0, (0, 0))]), [Read((50, 61), (5, 45))])
    expected = eager(models[family], ids)[:, :, 50:, 5:45].mean(axis=2)
    assert expected.max() > 1e-3
    np.testing.assert_allclose(found[0], expected, **CLOSE)


@pytest.mark.parametrize("family", ALL)
def test_two_queries_behind_one_prefix_are_two_prompts(models: dict[str, CausalLM], family: str) -> None:
    prefix, query, other = tokens(1, 50, 9, 6)
    segments = Segments.of([(prefix, 0, (0, 0)), (query, 50, (0, 50)), (other, 50, (0, 50))])
    found = read(models[family], segments, [Read((50, 59), (5, 45)), Read((61, 65), (5, 45))])
    first = eager(models[family], np.concatenate([prefix, query]))[:, :, 50:, 5:45].mean(axis=2)
    second = eager(models[family], np.concatenate([prefix, other]))[:, :, 52:, 5:45].mean(axis=2)
    np.testing.assert_allclose(found[0], first, **CLOSE)
    np.testing.assert_allclose(found[1], second, **CLOSE)


def blocks(
    seed: int, lengths: Sequence[int], instruction: int = 7, query: int = 11, at: int = 300
) -> Segments:
    """Make an instruction, documents that see it and themselves, and a query that sees everything."""
    first, last, *documents = tokens(seed, instruction, query, *lengths)
    parts = [(first, 0, (0, 0))] + [(document, instruction, (0, instruction)) for document in documents]
    return Segments.of([*parts, (last, at, (0, instruction + sum(lengths)))])


def full_mask(segments: Segments) -> torch.Tensor:
    """Return who sees whom, token by token, from the definition."""
    size = len(segments.ids)
    mask = torch.zeros(size, size, dtype=torch.bool)
    for which in range(len(segments)):
        start, stop = segments.own(which)
        mask[start:stop, slice(*segments.seen(which))] = True
        mask[start:stop, start:stop] = torch.ones(stop - start, stop - start).tril().bool()
    return mask


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"])
@pytest.mark.parametrize("over", ["visible", "documents"])
def test_blocks_are_read_as_under_their_mask(models: dict[str, CausalLM], family: str, over: str) -> None:
    segments = blocks(2, [13, 1, 20])
    found = read(models[family], segments, [Read((50, 52), (7, 41), over)])
    matrices = eager(models[family], segments.ids, segments.positions, full_mask(segments))
    expected = matrices[:, :, 50:52, 7:41]
    if over == "documents":
        expected = expected / expected.sum(axis=3, keepdims=True)
        np.testing.assert_allclose(found[0].sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(found[0], expected.mean(axis=2), **CLOSE)


def test_packed_prompts_are_read_as_each_alone(models: dict[str, CausalLM]) -> None:
    prompts = [blocks(3, [5, 9]), blocks(4, [30]), blocks(5, [2, 2, 2], at=90)]
    wanted = [Read((len(each.ids) - 2, len(each.ids)), (7, len(each.ids) - 11)) for each in prompts]
    packed, moved = Segments.pack(prompts)
    together = read(models["llama"], packed, [one.moved(by) for one, by in zip(wanted, moved, strict=True)])
    for number, (prompt, one) in enumerate(zip(prompts, wanted, strict=True)):
        alone = read(models["llama"], prompt, [one])[0]
        np.testing.assert_allclose(together[number, :, :, : alone.shape[2]], alone, **CLOSE)


def test_only_wanted_layers_are_run_and_they_do_not_change(models: dict[str, CausalLM]) -> None:
    segments, wanted = blocks(6, [9, 9]), [Read((30, 36), (7, 25))]
    whole = read(models["llama"], segments, wanted)
    calls: list[int] = []
    hooks = [
        layer.mlp.register_forward_hook(lambda *_, number=number: calls.append(number))
        for number, layer in enumerate(models["llama"].model.model.layers)
    ]
    part = read(models["llama"], segments, wanted, layers=[0, 2])
    for hook in hooks:
        hook.remove()
    assert calls == [0, 1]  # the second layer is left at its attention, and the third never begun
    np.testing.assert_allclose(part[0, [0, 2]], whole[0, [0, 2]], **CLOSE)
    assert np.isnan(part[0, [1, 3]]).all()


@pytest.mark.parametrize("length", [15, 16, 17, 18])
def test_a_window_hides_from_its_width_on(models: dict[str, CausalLM], length: int) -> None:
    """A window of 16 hides nothing of 16 tokens, and the first of 17."""
    (ids,) = tokens(length, length)
    found = read(
        models["mistral, window"], Segments.of([(ids, 0, (0, 0))]), [Read((length - 1, length), (0, 3))]
    )
    expected = eager(models["mistral, window"], ids)[:, :, length - 1, :3]
    assert (expected[..., 0] == 0).all() == (length > 16)
    np.testing.assert_allclose(found[0], expected, **CLOSE)


class Kept:
    """The keys and values of tokens that were computed in another pass."""

    def __init__(self) -> None:
        self.length = 0
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        self.layers[layer] = (key, value)
        self.length = key.shape[1]

    def join(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(
            torch.cat([old, new], dim=1) for old, new in zip(self.layers[layer], (key, value), strict=True)
        )


@pytest.mark.parametrize("over", ["visible", "documents"])
def test_a_query_over_kept_keys_is_a_query_behind_its_documents(
    models: dict[str, CausalLM], over: str
) -> None:
    whole = blocks(7, [8, 3, 12])
    documents = Segments(whole.ids[:30], whole.positions[:30], whole.bounds[:-1], whole.context[:-1])
    query = Segments(whole.ids[30:], whole.positions[30:], whole.bounds[-2:], whole.context[-1:], past=30)
    kept = Kept()
    models["qwen3"].read(documents, keep=kept.keep)
    wanted = [Read((33, 41), (7, 30), over)]
    found = read(models["qwen3"], query, wanted, past=kept)
    np.testing.assert_allclose(found, read(models["qwen3"], whole, wanted), **CLOSE)


def test_few_bytes_at_a_time_change_nothing(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, wanted = blocks(8, [20, 30]), [Read((58, 68), (7, 57))]
    for family in ("llama", "gemma2, window"):
        before = read(models[family], segments, wanted)
        monkeypatch.setattr(rows, "_BYTES", 1)
        monkeypatch.setattr(kernels, "_PLAIN_ROWS", 3)
        np.testing.assert_allclose(read(models[family], segments, wanted), before, rtol=1e-6)
        monkeypatch.undo()


def test_many_rows_are_read_without_their_output(
    models: dict[str, CausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, wanted = blocks(9, [20, 30]), [Read((58, 68), (7, 57))]
    before = read(models["llama"], segments, wanted)
    monkeypatch.setattr(kernels, "_FEW", 5)  # the segment's output comes from the fused kernel then
    np.testing.assert_allclose(read(models["llama"], segments, wanted), before, **CLOSE)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 10**6))
def test_documents_do_not_see_each_other(lengths: list[int], seed: int) -> None:
    """Keys of a document are the same whatever else is in the list: those of the last layer have seen all they can."""
    model = _shared()
    whole, alone = Kept(), Kept()
    segments = blocks(seed, lengths)
    model.read(segments, keep=whole.keep)
    last = len(lengths)  # the last document
    start, stop = segments.own(last)
    ids = [segments.ids[:7], segments.ids[start:stop]]
    model.read(Segments.of([(ids[0], 0, (0, 0)), (ids[1], 7, (0, 7))]), keep=alone.keep)
    for part in (0, 1):
        ours, theirs = whole.layers[LAYERS - 1][part][:, start:stop], alone.layers[LAYERS - 1][part][:, 7:]
        error = (
            ours - theirs
        ).abs().max() / theirs.abs().max()  # products of other sizes are rounded otherwise
        assert error < 1e-5


_MODEL: list[CausalLM] = []


def _shared() -> CausalLM:
    """One model for a property test, which takes no fixtures of a module."""
    if not _MODEL:
        import tempfile

        _MODEL.append(open_tiny(tiny_lm(Path(tempfile.mkdtemp()) / "llama")))
    return _MODEL[0]


def test_prompts_come_back_in_order(models: dict[str, CausalLM]) -> None:
    prompts = [Prompt(blocks(n, [5 + n]), (Read((7 + 5 + n, 18 + 5 + n), (7, 12 + n)),)) for n in range(3)]
    taken = list(read_prompts(models["llama"], prompts, lambda prompt: Taken(prompt.reads)))
    for prompt, one in zip(prompts, taken, strict=True):
        np.testing.assert_array_equal(one.weights, read(models["llama"], prompt.segments, prompt.reads))


class Narrow:
    """A model on an accelerator that holds a certain number of tokens."""

    def __init__(self, model: CausalLM, room: int) -> None:
        self.device, self.name = "cuda", "narrow"
        self.model, self.room, self.sizes = model, room, []

    def read(self, segments: Segments, **options: Any) -> None:
        self.sizes.append(len(segments.ids))
        if len(segments.ids) > self.room:
            options["sink"](0, 0, torch.ones(HEADS, 1))  # what was taken so far must not count
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.model.read(segments, **options)


def test_prompts_share_passes_up_to_the_budget_and_fewer_when_memory_is_short(
    models: dict[str, CausalLM],
) -> None:
    prompts = [Prompt(blocks(n, [12]), (Read((19, 30), (7, 19)),)) for n in range(5)]
    alone = [read(models["llama"], prompt.segments, prompt.reads) for prompt in prompts]
    narrow, notes = Narrow(models["llama"], 70), {}
    taken = list(
        read_prompts(narrow, prompts, lambda prompt: Taken(prompt.reads), budget=120, notes=notes)  # type: ignore[arg-type]
    )
    assert narrow.sizes == [120, 60, 60, 30]
    assert notes["batch_tokens"].startswith("60")
    for one, each in zip(taken, alone, strict=True):
        np.testing.assert_allclose(one.weights, each, **CLOSE)


def test_a_prompt_that_does_not_fit_says_what_to_do(models: dict[str, CausalLM]) -> None:
    prompts = [Prompt(blocks(1, [12]), (Read((19, 30), (7, 19)),))]
    with pytest.raises(ModelError, match="too little memory for a prompt of 30 tokens") as caught:
        list(read_prompts(Narrow(models["llama"], 5), prompts, lambda prompt: Taken(prompt.reads)))  # type: ignore[arg-type]
    assert "fewer or shorter documents" in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "past", "message"),
    [
        ([([1], 0, (0, 1))], 0, "do not precede"),
        ([([1, 2], 0, (0, 0)), ([3], 2, (1, 3))], 0, "do not precede"),
        ([([1, 2], 0, (1, 0))], 0, "do not precede"),
        ([([], 0, (0, 0))], 0, "bounds"),
    ],
)
def test_segments_that_see_what_is_not_there(parts: Any, past: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segments.of(parts, past)


def test_continued_prompts_are_not_packed() -> None:
    with pytest.raises(ValueError, match="cannot be packed"):
        Segments.pack([Segments.of([([1], 0, (0, 2))], past=2)])
