"""Tests of the document frequencies of a model's tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS

from irkit.models.encoder import Encoder
from irkit.models.resolve import resolve
from irkit.pipeline.context import Context
from irkit.stages import encoding
from irkit.stages.dense import Dense
from irkit.stages.vocabulary import count_tokens, open_token_frequencies, rarity, token_frequencies_recipe
from irkit.store import Build


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS[:15], rng.integers(0, 120))) for _ in range(n)]


def test_every_document_counts_once_for_each_of_its_tokens(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Encoder(resolve(str(tiny_encoder)), device="cpu").loaded.tokenizer
    docs = [*texts(20), "cat " * 200 + "moon", ""]  # longer than the model reads
    options = Dense(model=str(tiny_encoder))
    found = open_token_frequencies(options, make_context(docs), tokenizer, 26)
    assert found.dtype == np.uint32
    ids = tokenizer.get_vocab()
    for word, token in ids.items():
        assert found[token] == sum(word in text.split() for text in docs), word
    assert found[ids["moon"]] == 1
    monkeypatch.setattr(encoding, "SHARD", 3)
    again = open_token_frequencies(options, make_context(docs, store="other"), tokenizer, 26)
    np.testing.assert_array_equal(again, found)
    nothing = open_token_frequencies(options, make_context([]), tokenizer, 26)
    np.testing.assert_array_equal(nothing, np.zeros(26))


def test_an_interrupted_count_is_taken_up_again(
    tiny_encoder: Path, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "SHARD", 4)
    tokenizer = Encoder(resolve(str(tiny_encoder)), device="cpu").loaded.tokenizer
    context, options = make_context(texts(12)), Dense(model=str(tiny_encoder))
    made: list[str] = []
    shard = Build.shard

    def failing(build: Build, name: str, write: Callable[[Path], None]) -> Path:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(name)
        return shard(build, name, write)

    monkeypatch.setattr(Build, "shard", failing)
    with pytest.raises(KeyboardInterrupt):
        open_token_frequencies(options, context, tokenizer, 26)
    written: list[str] = []

    def watched(build: Build, name: str, write: Callable[[Path], None]) -> Path:
        if not build.has_shard(name):
            written.append(name)
        return shard(build, name, write)

    monkeypatch.setattr(Build, "shard", watched)
    found = open_token_frequencies(options, context, tokenizer, 26)
    assert len(written) == 1
    ids, held = count_tokens(tokenizer, texts(12))
    np.testing.assert_array_equal(found[ids], held)


def test_the_recipe_knows_the_collection_and_the_model(
    tiny_encoder: Path, tiny_colbert: Path, make_context: Callable[..., Context]
) -> None:
    context = make_context(["cat"])
    recipe = token_frequencies_recipe(Dense(model=str(tiny_encoder)), context)
    assert (
        recipe.key
        == token_frequencies_recipe(
            Dense(model=str(tiny_encoder), query_prompt="x", batch_size=2), context
        ).key
    )
    assert recipe.key != token_frequencies_recipe(Dense(model=str(tiny_encoder)), make_context(["dog"])).key
    assert recipe.key != token_frequencies_recipe(Dense(model=str(tiny_colbert)), context).key


def test_rarity_is_the_idf_over_that_of_an_unseen_token() -> None:
    held = np.array([0, 1, 5, 10], np.uint32)
    idf = [np.log(1 + (10 - df + 0.5) / (df + 0.5)) for df in (0, 1, 5, 10)]
    np.testing.assert_allclose(rarity(held, 10), np.array(idf) / idf[0], rtol=1e-6)
    assert rarity(held, 10)[0] == 1.0
    assert (np.diff(rarity(held, 10)) < 0).all()
    assert rarity(held, 10)[3] > 0
    assert rarity(np.zeros(2, np.uint32), 0).tolist() == [1.0, 1.0]
