"""Attention that a loss can be brought back from: the shares of :meth:`CausalLM.read`, gradients of transformers' arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_lists import Prompts, lesson, loss_of, moved, prompts
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ModelError
from irkit.models.lm.learning import attention as learning_attention
from irkit.models.lm.learning.attention import gathered_sum, taken
from irkit.models.lm.learning.lesson import Lesson, ranges
from irkit.models.lm.learning.reader import LearningReader
from irkit.models.lm.learning.weights import MATRICES, save_whole, update, whole
from irkit.models.lm.segments import Read, Segments

LAYER = 2


def read(model: Any, some: Prompts) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for segments, own in some:
        model.read(
            segments, reads=[own], sink=lambda _l, _r, weights: found.append(weights.mean(0)), layers=[LAYER]
        )
    return found


def gradients(model: Any, reader: LearningReader, given: Lesson) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss_of(reader.shares(given)).backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3"])
def test_shares_are_those_that_are_read(tmp_path: Path, family: str, quick: bool) -> None:
    some = prompts()
    wanted = read(open_tiny(tiny_lm(tmp_path / "lm", family)), some)
    reader = LearningReader(open_tiny(tmp_path / "lm").model, LAYER, quick=False) if not quick else None
    if reader is None:
        from transformers import AutoModelForCausalLM

        reader = LearningReader(AutoModelForCausalLM.from_pretrained(tmp_path / "lm"), LAYER)
        assert reader.quick == (not family.startswith("gemma"))
    with torch.no_grad():
        found = reader.shares(lesson(some))
    for own, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(own[: len(right)], right, rtol=1e-4, atol=1e-6)
        assert not own[len(right) :].any()


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("rank", [4, None])
def test_gradients_are_those_of_transformers_and_peft(tmp_path: Path, family: str, rank: int | None) -> None:
    """The layers of transformers and the modules of peft compute the other side; its norms are of single precision always."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_lm(tmp_path / "lm", family)).double()
    if rank:
        moved(update(model, rank, 8, LAYER, 3).weights)
    else:
        whole(model, LAYER)
    given = lesson(prompts())
    plain = gradients(model, LearningReader(model, LAYER, quick=False), given)
    quick = gradients(model, LearningReader(model, LAYER), given)
    assert plain.keys() == quick.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    for name, each in plain.items():
        assert float((quick[name] - each).norm()) < 1e-5 * float(each.norm()), name


def test_gradients_are_the_slopes_of_the_loss(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_lm(tmp_path / "lm")).double()
    weights, given = update(model, 4, 8, LAYER, 3).weights, lesson(prompts())
    moved(weights)
    for each in weights.values():
        each.data = each.data.double()
    reader = LearningReader(model, LAYER)
    loss_of(reader.shares(given)).backward()
    for each in list(weights.values())[::7]:
        flat, at = each.data.view(-1), int(each.grad.abs().argmax())
        values = []
        for by in (1e-5, -1e-5):
            flat[at] += by
            with torch.no_grad():
                values.append(float(loss_of(reader.shares(given))))
            flat[at] -= by
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(each.grad.view(-1)[at]), rel=1e-4)


@pytest.mark.parametrize("quick", [True, False])
def test_checkpointing_changes_nothing(tmp_path: Path, quick: bool) -> None:
    from transformers import AutoModelForCausalLM

    path, given, found = tiny_lm(tmp_path / "lm"), lesson(prompts()), []
    for checkpointing in (True, False):
        model = AutoModelForCausalLM.from_pretrained(path)
        moved(update(model, 4, 8, LAYER, 3).weights)
        reader = LearningReader(model, LAYER, checkpointing=checkpointing, quick=quick)
        found.append(gradients(model, reader, given))
    for name, each in found[0].items():
        torch.testing.assert_close(each, found[1][name], rtol=1e-5, atol=1e-7)


def test_updates_lie_where_the_attention_depends_on_them(tmp_path: Path) -> None:
    model = open_tiny(tiny_lm(tmp_path / "lm")).model
    names = {
        name.removeprefix("base_model.model.model.layers.").rsplit(".lora_", 1)[0]
        for name in update(model, 2, 4, LAYER, 0).weights
    }
    assert {name.rpartition(".")[2] for name in names if name.startswith("2.")} == {"q_proj", "k_proj"}
    assert {name.rpartition(".")[2] for name in names if name.startswith("0.")} == set(MATRICES)
    assert not any(name.startswith("3.") for name in names)


def test_updates_begin_alike_with_one_seed(tmp_path: Path) -> None:
    path = tiny_lm(tmp_path / "lm")
    first, same, other = (update(open_tiny(path).model, 2, 4, LAYER, seed).weights for seed in (1, 1, 2))
    assert all(torch.equal(each, same[name]) for name, each in first.items())
    assert not any(torch.equal(each, other[name]) for name, each in first.items() if "lora_A" in name)


def test_peft_loads_what_is_saved(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path = tiny_lm(tmp_path / "lm")
    model = AutoModelForCausalLM.from_pretrained(path)
    updates = update(model, 4, 8, LAYER, 3)
    moved(updates.weights)
    (tmp_path / "updates").mkdir()
    updates.save(tmp_path / "updates", "a-name")
    for each in updates.weights.values():
        each.data = each.data.half().float()
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(path), tmp_path / "updates")
    ids = torch.arange(5, 25)[None]
    torch.testing.assert_close(again(ids).logits, _eager(model, ids), rtol=1e-4, atol=1e-4)
    assert again.peft_config["default"].base_model_name_or_path == "a-name"
    assert not torch.allclose(
        again(ids).logits, AutoModelForCausalLM.from_pretrained(path)(ids).logits, atol=1e-2
    )


def _eager(model: Any, ids: torch.Tensor) -> torch.Tensor:
    model.set_attn_implementation("eager")
    return model(ids).logits


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_whole_model_is_saved_without_the_layers_above(tmp_path: Path, family: str) -> None:
    given, some = tiny_lm(tmp_path / "lm", family), prompts()
    opened = open_tiny(given)
    save_whole(tmp_path / "cut", opened.model, opened.tokenizer, LAYER)
    again = open_tiny(tmp_path / "cut")
    assert again.layers == LAYER + 1
    for own, right in zip(read(again, some), read(opened, some), strict=True):
        torch.testing.assert_close(own, right, rtol=0.05, atol=2e-3)
    assert opened.layers == 4 and len(opened.model.base_model.layers) == 4


@pytest.mark.parametrize(("family", "match"), [("gemma2", "capped"), ("mistral", "positions back")])
def test_attention_of_other_kinds_is_refused(tmp_path: Path, family: str, match: str) -> None:
    model = open_tiny(
        tiny_lm(tmp_path / "lm", family, sliding_window=4096 if family == "gemma2" else 16)
    ).model
    with pytest.raises(ModelError, match=match):
        LearningReader(model, LAYER).shares(lesson(prompts()))


def test_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no layer 4"):
        LearningReader(open_tiny(tiny_lm(tmp_path / "lm")).model, 4)


def test_a_model_without_such_matrices_is_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=50))
    with pytest.raises(ModelError, match="none of the matrices"):
        update(model, 2, 4, 1, 0)
    with pytest.raises(ModelError, match="not known"):
        whole(model, 1)


def test_a_read_over_all_that_is_visible_is_refused() -> None:
    segments, own = prompts((2,))[0]
    with pytest.raises(ValueError, match="over the documents"):
        Lesson.of(segments, [Read(own.rows, own.documents)])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_gathered_gradients_are_summed_where_they_come_from(sizes: list[int], seed: int) -> None:
    given = lesson(prompts(tuple(sizes), seed))
    assert np.array_equal(given.gathered, _gathered(given.segments))
    keys, values = torch.randn(
        2, len(given.gathered), 2, 3, generator=torch.Generator().manual_seed(seed)
    ).unbind(0)
    out = torch.zeros(len(given.ids), 7, 3)
    gathered_sum(keys, values, given, out)
    right = torch.zeros(len(given.ids), 4, 3).index_add_(0, given.gathered, torch.cat([keys, values], 1))
    torch.testing.assert_close(out[:, 3:], right)
    assert not out[:, :3].any()


def _gathered(segments: Segments) -> list[int]:
    found: list[int] = []
    for which in range(len(segments)):
        found += [*range(*segments.seen(which)), *range(*segments.own(which))]
    return found


def _per_segment(given: Lesson, queries: Any, keys: Any, values: Any, scale: float) -> torch.Tensor:
    """Attention over gathered keys, segment by segment: what flash attention is asked for."""
    found, times = [], queries.shape[1] // keys.shape[1]
    for row, after, at, end in zip(
        given.bounds, given.bounds[1:], given.seen_bounds, given.seen_bounds[1:], strict=False
    ):
        rows, seen = queries[row:after], keys[at:end].repeat_interleave(times, 1)
        scores = torch.einsum("rhd,khd->hrk", rows, seen) * scale
        hidden = torch.ones(scores.shape[1:]).triu(1 + scores.shape[2] - scores.shape[1]).bool()
        shares = scores.masked_fill(hidden, -torch.inf).softmax(2)
        found.append(torch.einsum("hrk,khd->rhd", shares, values[at:end].repeat_interleave(times, 1)))
    return torch.cat(found)


@pytest.mark.parametrize("angled", [True, False])
def test_the_way_back_through_gathered_keys(monkeypatch: pytest.MonkeyPatch, angled: bool) -> None:
    """With flash attention's two functions replaced by products: turning, gathering and summing are those of CUDA."""

    def attend(queries: Any, keys: Any, values: Any, given: Lesson, scale: float) -> tuple[torch.Tensor, ...]:
        return (_per_segment(given, queries, keys, values, scale), *torch.zeros(3, 1))

    def back(
        grad: Any, queries: Any, keys: Any, values: Any, _f: Any, _l: Any, given: Lesson, scale: float
    ) -> Any:
        parts = [each.detach().clone().requires_grad_() for each in (queries, keys, values)]
        with torch.enable_grad():
            return torch.autograd.grad(_per_segment(given, *parts, scale), parts, grad)

    given, draws = lesson(prompts()), torch.Generator().manual_seed(1)
    joined = torch.randn(len(given.ids), 8, 6, dtype=torch.float64, generator=draws)
    angles = torch.randn(2, len(given.ids), 6, dtype=torch.float64, generator=draws)
    grad = torch.randn(len(given.ids), 4, 6, dtype=torch.float64, generator=draws)
    found = []
    for flashing in (False, True):
        if flashing:
            monkeypatch.setattr(learning_attention, "learns", lambda *_: True)
            monkeypatch.setattr(learning_attention, "attend", attend)
            monkeypatch.setattr(learning_attention, "attend_back", back)
        own = joined.clone().requires_grad_()
        output = learning_attention.mixed(given, own, 4, 0.4, (angles[0], angles[1]) if angled else None)
        output.backward(grad)
        found.append((output.detach(), own.grad))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])


def test_rows_are_taken_and_their_gradients_given_back() -> None:
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    rows, back = torch.tensor([3, 5, 0, 5]), torch.tensor([2, 4, 4, 0, 4])
    assert torch.equal(
        taken(x, rows, back)[:, 0], torch.stack([x[3, 0], x.new_zeros(()), x[0, 0], x.new_zeros(())])
    )
    assert torch.autograd.gradcheck(lambda y: taken(y, rows, back).square(), x)


def test_ranges_follow_each_other() -> None:
    assert ranges(np.array([[2, 5], [7, 7], [0, 1]])).tolist() == [2, 3, 4, 0]
