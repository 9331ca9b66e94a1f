"""Texts are tokenised once, and a batch of them is what the tokeniser would make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from irkit.models.encoder import Encoder
from irkit.models.resolve import resolve
from irkit.train.tokenised import Tokenised

TEXTS = ["red cat", "one two three four five six seven", "", "moon", "green fish tree stone river moon sun"]


@pytest.fixture
def encoder(tiny_encoder: Path) -> Encoder:
    return Encoder(
        resolve(str(tiny_encoder), tiny_encoder.parent), device="cpu", prompts={"query": "blue dog: "}
    )


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, each in expected.items():
        if isinstance(each, torch.Tensor):
            assert found[key].dtype == each.dtype and torch.equal(found[key], each), key
        else:
            assert found[key] == each, key


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("side", ["query", "document"])
def test_a_batch_is_the_tokenisers(encoder: Encoder, side: Any, padding: str) -> None:
    encoder.loaded.tokenizer.padding_side = padding
    tokens = Tokenised(encoder, TEXTS, side, 64)
    for numbers in ([0, 1, 2, 3, 4], [3, 0], [4, 4, 2], [2]):
        same(tokens.batch(numbers), encoder.features([TEXTS[n] for n in numbers], side))


def test_long_texts_are_cut_and_the_models_own_limit_stays(encoder: Encoder) -> None:
    own = encoder.loaded.max_seq_length
    batch = Tokenised(encoder, TEXTS, "document", 5).batch([1, 0])
    assert batch["input_ids"].shape == (2, 5) and batch["attention_mask"].sum(1).tolist() == [5, 4]
    assert encoder.loaded.max_seq_length == own
    longest = Tokenised(encoder, ["cat " * 4 * own], "document", 10 * own).batch([0])
    assert longest["input_ids"].shape[1] == own


def test_no_text_is_tokenised_twice(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    features = encoder.features

    def noted(texts: Any, side: Any) -> Any:
        seen.extend(texts)
        return features(texts, side)

    monkeypatch.setattr(encoder, "features", noted)
    tokens = Tokenised(encoder, TEXTS, "document", 64)
    for numbers in ([0, 1], [1, 1, 3], [3, 0, 4]):
        tokens.batch(numbers)
    assert sorted(seen) == sorted(TEXTS[n] for n in (0, 1, 3, 4))
