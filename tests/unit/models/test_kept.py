"""Tests of documents' keys and values kept on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import open_tiny, tiny_lm

from irkit.core.errors import ConfigError, ModelError
from irkit.models.lm.kept import KeptDocuments
from irkit.models.lm.model import CausalLM
from irkit.models.lm.past import Whole, token_bytes

HEAD = np.arange(10, 17)
LAYERS = 3


def document(name: int) -> Any:
    """Some tokens, from 2 to 12 of them, that the name decides."""
    rng = np.random.default_rng(name)
    return rng.integers(5, 480, 2 + name % 11)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return open_tiny(tiny_lm(tmp_path_factory.mktemp("llama") / "model"))


def store(model: CausalLM, tokens: int = 0, **options: Any) -> KeptDocuments:
    limit = (tokens + len(HEAD)) * token_bytes(model, LAYERS) if tokens else 0
    return KeptDocuments(model, HEAD, layers=LAYERS, limit=limit, **options)


def joined(model: CausalLM, documents: KeptDocuments, names: Sequence[int], behind: int = 2) -> Any:
    """The keys and values of instruction, documents and ones behind them, ``[layers, 2, key heads, tokens, head_dim]``."""
    past, (lengths,) = documents.past([names], lambda places: [document(names[at]) for at in places], behind)
    assert lengths.tolist() == [len(document(name)) for name in names]
    assert past.length == len(HEAD) + lengths.sum()
    more = torch.ones(model.key_heads, behind, model.head_dim)
    return torch.stack([torch.stack(past.join(layer, more, 2 * more)).clone() for layer in range(LAYERS)])


def by_transformers(model: CausalLM, names: Sequence[int]) -> Any:
    """The same from transformers' cache, each document by itself behind the instruction."""
    from transformers import AutoModelForCausalLM

    eager = AutoModelForCausalLM.from_pretrained(model.name, attn_implementation="eager")
    parts = []
    for number, name in enumerate(names):
        ids = torch.from_numpy(np.concatenate([HEAD, document(name)]))[None]
        with torch.inference_mode():
            cache = eager(ids, use_cache=True).past_key_values
        whole = torch.stack(
            [torch.stack([cache.layers[at].keys[0], cache.layers[at].values[0]]) for at in range(LAYERS)]
        )
        parts.append(whole if number == 0 else whole[:, :, :, len(HEAD) :])
    return torch.cat(parts, dim=3)


@pytest.mark.parametrize("tokens", [0, 100])
def test_they_are_the_keys_and_values_of_transformers(model: CausalLM, tokens: int) -> None:
    names = [3, 9, 4]
    found = joined(model, store(model, tokens), names)
    torch.testing.assert_close(found[..., :-2, :], by_transformers(model, names), rtol=1e-4, atol=1e-5)
    assert (found[:, 0, :, -2:] == 1).all() and (found[:, 1, :, -2:] == 2).all()


def test_companions_change_no_bit(model: CausalLM) -> None:
    alone, others = store(model, 100), store(model, 100)
    expected = joined(model, alone, [7])[..., len(HEAD) : -2, :]
    found = joined(model, others, [1, 5, 7, 2])
    begin = len(HEAD) + len(document(1)) + len(document(5))
    assert torch.equal(found[..., begin : begin + expected.shape[3], :], expected)


def test_shared_passes_change_rounding_at_most(model: CausalLM) -> None:
    apart = joined(model, store(model, 100), [1, 5, 7, 2])
    device, model.device = model.device, "cpu:0"  # where documents share passes
    try:
        calls = _counted(model)
        together = joined(model, store(model, 100, budget=18), [1, 5, 7, 2])
    finally:
        model.device = device
        del model.__dict__["read"]
    assert calls[1:] == [3 + 7, 9 + 4]  # as many as go into 18 tokens
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def _counted(model: CausalLM) -> list[int]:
    calls: list[int] = []
    read = model.read

    def counting(segments: Any, **options: Any) -> None:
        calls.append(len(segments.ids))
        read(segments, **options)

    model.__dict__["read"] = counting
    return calls


@settings(max_examples=25, deadline=None)
@given(
    lists=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5), min_size=1, max_size=6),
    tokens=st.integers(1, 60),
)
def test_whatever_was_asked_before_a_list_is_as_if_it_were_the_first(
    shared: CausalLM, lists: list[list[int]], tokens: int
) -> None:
    documents = store(shared, tokens)
    for names in lists:
        assert torch.equal(joined(shared, documents, names), joined(shared, store(shared), names))
        assert documents.tokens <= tokens
        if sum(len(document(name)) for name in set(names)) <= tokens:
            assert all(name in documents for name in names)
    assert documents.tokens == sum(len(document(name)) for name in range(31) if name in documents)


@pytest.fixture(scope="module")
def shared(model: CausalLM) -> CausalLM:
    return model


@pytest.mark.parametrize("tokens", [0, 100])
def test_several_lists_lie_one_behind_the_other(model: CausalLM, tokens: int) -> None:
    lists = [[3, 9], [9, 4, 3]]
    names = [name for each in lists for name in each]
    documents = store(model, tokens)
    past, lengths = documents.past(lists, lambda places: [document(names[at]) for at in places], 2)
    assert [each.tolist() for each in lengths] == [[len(document(name)) for name in each] for each in lists]
    more = torch.ones(model.key_heads, 2, model.head_dim)
    for layer in range(LAYERS):
        found = past.join(layer, more, more)
        parts = [joined(model, store(model), each)[layer, ..., :-2, :] for each in lists]
        assert torch.equal(torch.stack(found)[..., :-2, :], torch.cat(parts, dim=2))


def test_what_was_used_longest_ago_gives_way(model: CausalLM) -> None:
    documents = store(model, 20)  # of lengths 6, 7, 5
    for names in ([4], [5], [3]):
        joined(model, documents, names)
    assert documents.tokens == 18 and len(documents) == 3
    joined(model, documents, [4])
    joined(model, documents, [0])  # 2 more fit
    assert len(documents) == 4 and documents.tokens == 20
    joined(model, documents, [1])  # 3 do not: 5 was used longest ago
    assert 5 not in documents and {3, 4, 0, 1} == {name for name in range(10) if name in documents}


def test_nothing_is_computed_twice(model: CausalLM) -> None:
    documents, asked = store(model, 60), []

    def encode(names: list[int]) -> Callable[[list[int]], list[Any]]:
        def given(places: list[int]) -> list[Any]:
            asked.append([names[at] for at in places])
            return [document(names[at]) for at in places]

        return given

    for names in ([4, 5, 4], [5, 6, 4], [4, 6]):
        documents.past([names], encode(names), 1)
    assert asked == [[4, 5], [6]]


def test_a_list_beyond_the_limit_is_computed_and_leaves_the_others(model: CausalLM) -> None:
    documents = store(model, 20)
    joined(model, documents, [4, 5])
    names = [8, 9, 10]
    past, _ = documents.past([names], lambda places: [document(names[at]) for at in places], 1)
    assert isinstance(past, Whole)
    assert {name for name in range(20) if name in documents} == {4, 5}
    assert torch.equal(joined(model, documents, [4, *names]), joined(model, store(model), [4, *names]))


def test_too_little_memory_is_said_and_leaves_the_store_as_it_was(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = store(model, 40)
    joined(model, documents, [4, 5])
    before = joined(model, documents, [4, 5])

    def full(*_given: Any, **_options: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(model, "read", full)
        with pytest.raises(ModelError, match="too little memory for a document of 8 tokens"):
            joined(model, documents, [4, 6])
    assert 6 not in documents and documents.tokens == 6 + 7
    assert torch.equal(joined(model, documents, [4, 5]), before)
    assert torch.equal(joined(model, documents, [6]), joined(model, store(model), [6]))
    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda shape, **rest: (full if shape[2] > 999 else empty)(shape, **rest)
    )
    with pytest.raises(ModelError, match=r"keys and values of 1007 tokens, 0.0 GB"):
        KeptDocuments(model, HEAD, layers=LAYERS, limit=1007 * token_bytes(model, LAYERS))


def test_a_pass_that_does_not_fit_is_halved(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [1, 5, 7, 2]
    expected = joined(model, store(model), names)
    monkeypatch.setattr(model, "device", "cpu:0")
    read = model.read

    def small(segments: Any, **options: Any) -> None:
        if len(segments.ids) > 12:
            raise torch.OutOfMemoryError("out of memory")
        read(segments, **options)

    notes: dict[str, Any] = {}
    monkeypatch.setattr(model, "read", small)
    found = joined(model, store(model, notes=notes), names)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert notes == {"batch_tokens": "11: the device ran out of memory at 23"}


def test_other_errors_are_not_taken_for_memory(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = store(model)

    def broken(*_given: Any, **_options: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(model, "read", broken)
    with pytest.raises(RuntimeError, match="something else"):
        joined(model, documents, [1])


def test_a_limit_without_room_is_refused(model: CausalLM) -> None:
    with pytest.raises(ConfigError, match="no room for any document") as error:
        KeptDocuments(model, HEAD, layers=LAYERS, limit=100)
    assert error.value.problems[0].where == "cache_gb"


def test_the_precision_is_the_models(tmp_path: Path) -> None:
    model = open_tiny(tiny_lm(tmp_path / "model"), dtype="bfloat16")
    assert token_bytes(model, 3) == 3 * 2 * 2 * 16 * 2
    assert joined_dtype(model) == torch.bfloat16


def joined_dtype(model: CausalLM) -> Any:
    documents = store(model, 30)
    past, _ = documents.past([[1]], lambda _places: [document(1)], 1)
    more = torch.ones(model.key_heads, 1, model.head_dim, dtype=torch.bfloat16)
    return past.join(0, more, more)[0].dtype
